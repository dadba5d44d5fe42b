"""Pairs of pictures of simulated walks with their true motion and depth, seen by cameras of many kinds."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from video4spatial.cameras.rotations import matrices_from_vectors
from video4spatial.models.pair_pose import place_centres
from video4spatial.training.bank import SceneBank
from video4spatial.training.data import StepData, kept_bank
from video4spatial.training.sampler import step_generator

GAPS = ((1, 0.6), (2, 0.3), (3, 0.1))
"""Frames of a walk from one picture to the next, and how often."""

PAIRS = ((1, 5), (2, 3), (3, 1), (5, 1))
"""How many pictures apart the pairs of a walk are, and how many of each at most."""


@dataclass
class PairBatch:
    """Pictures of some walks, and which two of them make a pair.

    Args:
        pictures: [B, 3, H, W] from 0 to 1.
        intrinsics: [B, 3, 3] normalised, float32.
        camera_to_world: [B, 4, 4] float32; equal worlds only within a walk.
        log_depth: [B, G] in log metres at the places of the network.
        pairs: [P, 2].
    """

    pictures: Tensor
    intrinsics: Tensor
    camera_to_world: Tensor
    log_depth: Tensor
    pairs: Tensor

    def __len__(self) -> int:
        return len(self.pairs)


class PairData(StepData):
    """Pairs of pictures of walks through simulated rooms, which are rendered when first needed and kept in a file.

    The walks are rendered by a camera of wide view. What the network is shown are narrower views out of it, of cameras that are
    held differently in each walk (lens, aspect, roll, pitch) and that shake, in another light, blurred and noisy. So the motions of
    hands that are no walker's are learned as well.

    Args:
        bank: file that keeps the rendered walks; rendered when it does not exist.
        scenes: how many, from the training seeds.
        first_seed: the first of them, counted from the start of the training range.
        walk_frames: frames of each walk.
        rendered_size: height and width that the walks are rendered at, in pixels.
        rendered_fov: least and greatest horizontal field of view of the renderings, in degrees.
        size: height and width of the pictures that are drawn, in pixels, a multiple of 16.
        fov_degrees: least and greatest horizontal field of view of the pictures that are drawn.
        shake_degrees: deviation of the turns by which each picture is shaken.
        frame_rate: frames per second of the walks.
        walks: per step.
        pictures: per walk and step, at least 2.
        seed: of the drawing.
        num_workers: processes that draw batches ahead; 0 draws them between the steps. Batches are the same.

    Raises:
        ValueError: for sizes that no pair can be drawn from.
    """

    def __init__(
        self,
        bank: str,
        scenes: int = 600,
        first_seed: int = 20_000,
        walk_frames: int = 48,
        rendered_size: int = 128,
        rendered_fov: tuple[float, float] = (75.0, 100.0),
        size: int = 64,
        fov_degrees: tuple[float, float] = (50.0, 90.0),
        shake_degrees: float = 1.0,
        frame_rate: float = 4.0,
        walks: int = 3,
        pictures: int = 6,
        seed: int = 0,
        num_workers: int = 0,
    ):
        super().__init__()
        reach = pictures * max(gap for gap, _ in GAPS)
        if min(scenes, walks) < 1 or pictures < 2 or size % 16 or walk_frames < reach or num_workers < 0:
            raise ValueError(
                f"data.scenes {scenes}, walks {walks}, pictures {pictures}, size {size}, walk_frames {walk_frames}, "
                f"num_workers {num_workers}: expected at least 1 scene and walk, 2 pictures, a size that is a multiple of 16, "
                f"{reach} frames for {pictures} pictures, and 0 workers."
            )
        self.save_hyperparameters()
        self.bank: SceneBank | None = None

    def setup(self, stage: str) -> None:
        """Render or read the bank."""
        if self.bank is not None:
            return
        options = self.hparams
        side = options.rendered_size
        self.bank = kept_bank(
            Path(options.bank), range(options.first_seed, options.first_seed + options.scenes), walk_frames=options.walk_frames,
            targets_per_scene=1, target_frames=2, height=side, width=side, depth_size=(side // 4, side // 4),
            frame_rate=options.frame_rate, fov_degrees=tuple(options.rendered_fov),
        )  # fmt: skip

    def draw(self, step: int, progress: float = 0.0, rank: int = 0) -> PairBatch:
        """The batch of a step on a rank."""
        generator = step_generator(self.hparams.seed, step, rank)
        walks = [self._walk(generator) for _ in range(self.hparams.walks)]
        first = torch.arange(len(walks))[:, None, None] * self.hparams.pictures
        pairs = torch.stack([walk.pairs for walk in walks]) + first
        names = ("pictures", "intrinsics", "camera_to_world", "log_depth")
        return PairBatch(*(torch.cat([getattr(walk, name) for walk in walks]) for name in names), pairs.flatten(0, 1))

    def _walk(self, generator: torch.Generator) -> PairBatch:
        """Pictures of one walk and their pairs."""
        entry = int(torch.randint(len(self.bank), (), generator=generator))
        chosen = _chosen_frames(self.bank.walk_frames, self.hparams.pictures, generator)
        views = drawn_views(
            self.bank.frames[entry, chosen].permute(0, 3, 1, 2).float() / 255,
            self.bank.depth[entry, chosen].float(),
            self.bank.camera_to_world[entry, chosen],
            self.bank.intrinsics[entry],
            self.hparams.size,
            self.hparams.fov_degrees,
            self.hparams.shake_degrees,
            generator,
        )
        return PairBatch(*views, _chosen_pairs(self.hparams.pictures, generator))


def _chosen_frames(walk_frames: int, count: int, generator: torch.Generator) -> Tensor:
    """Frames [count] of a walk in the order of time or against it; now and then one from anywhere stands last."""
    gaps, shares = zip(*GAPS, strict=True)
    steps = torch.tensor(gaps)[torch.multinomial(torch.tensor(shares), count, replacement=True, generator=generator)].cumsum(0)
    steps = steps - steps[0]
    frames = steps + int(torch.randint(walk_frames - int(steps[-1]), (), generator=generator))
    if torch.rand((), generator=generator) < 0.5:
        frames = frames.flip(0)
    if torch.rand((), generator=generator) < 0.3:
        frames[-1] = torch.randint(walk_frames, (), generator=generator)
    return frames


def _chosen_pairs(count: int, generator: torch.Generator) -> Tensor:
    """Pairs [P, 2] of the pictures of a walk, each in one order or the other."""
    pairs = []
    for gap, most in PAIRS:
        starts = torch.randperm(max(count - gap, 0), generator=generator)[:most]
        pairs.append(torch.stack([starts, starts + gap], dim=1))
    pairs = torch.cat(pairs)
    return torch.where(torch.rand((len(pairs), 1), generator=generator) < 0.5, pairs, pairs.flip(1))


def drawn_views(
    frames: Tensor, depth: Tensor, camera_to_world: Tensor, intrinsics: Tensor, size: int,
    fov_degrees: tuple[float, float], shake_degrees: float, generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """What a camera of another kind sees from the places of a walk, out of wider pictures.

    Args:
        frames: [K, 3, H, W] from 0 to 1.
        depth: [K, h, w] metres along the optical axis.
        camera_to_world: [K, 4, 4].
        intrinsics: [3, 3] normalised, of all frames.
        size: of the pictures in pixels.
        fov_degrees: range of the horizontal field of view; it is narrower where the frames show no more.
        shake_degrees: deviation of the turns of single pictures.
        generator: of all that is drawn.

    Returns:
        Pictures [K, 3, size, size], intrinsics [K, 3, 3], camera_to_world [K, 4, 4] and log depth [K, size / 4 squared], float32.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    held = torch.deg2rad(normal(3) * torch.tensor([4.0, 2.0, 5.0])) * (uniform(0, 1) < 0.7)
    shaken = torch.deg2rad(shake_degrees * uniform(0, 1.5) * normal(len(frames), 3))
    turns = matrices_from_vectors(held) @ matrices_from_vectors(shaken)  # [K, 3, 3] drawn camera to that of the frame
    half = torch.tan(torch.deg2rad(torch.tensor(uniform(*fov_degrees) / 2, dtype=torch.float64)))
    aspect = float(torch.exp(torch.tensor(uniform(-0.35, 0.6)))) if uniform(0, 1) < 0.6 else 1.0
    lens = torch.diag(torch.stack([0.5 / half, 0.5 * aspect / half, half.new_tensor(1.0)]))
    lens[:2, 2] = 0.5 + (0.02 * normal(2)).clamp(-0.04, 0.04)
    # Narrower until the corners of all pictures lie in the frames.
    reach = 0.5 / torch.stack([intrinsics[0, 0], intrinsics[1, 1]])
    corners = torch.tensor([[0.0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], dtype=torch.float64)
    for _ in range(3):
        seen = corners @ torch.linalg.inv(lens).T @ turns.mT  # [K, 4, 3]
        excess = ((seen[..., :2] / seen[..., 2:]).abs() / reach).max()
        lens[0, 0], lens[1, 1] = lens[0, 0] * excess.clamp(min=1), lens[1, 1] * excess.clamp(min=1)

    def sampled(values: Tensor, centres: Tensor, side: int, mode: str) -> tuple[Tensor, Tensor]:
        rays = F.pad(centres.double(), (0, 1), value=1.0) @ torch.linalg.inv(lens).T @ turns.mT  # [K, side^2, 3] of the frame's camera
        rays = rays / rays[..., 2:]
        places = (rays @ intrinsics.T)[..., :2]
        grid = (2 * places - 1).float().unflatten(1, (side, side))
        return F.grid_sample(values, grid, mode=mode, padding_mode="border", align_corners=False), rays

    pictures, _ = sampled(frames, place_centres(size), size, "bilinear")
    distances, rays = sampled(depth[:, None], place_centres(size // 4), size // 4, "nearest")
    along = (rays @ turns)[..., 2] * distances.flatten(1)  # depth along the drawn camera's own axis
    poses = camera_to_world.clone()
    poses[:, :3, :3] = poses[:, :3, :3] @ turns
    poses[:, :3, 3] = poses[:, :3, 3] - camera_to_world[:1, :3, 3]  # near zero, for float32
    pictures = seen_in_other_light(pictures, generator)
    return pictures, lens.float().expand(len(frames), 3, 3), poses.float(), along.clamp(min=0.05).log().float()


def seen_in_other_light(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [K, 3, H, W] of one walk in another light, each with its own exposure, blur and noise."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    gain, gamma = (0.12 * normal(1, 3, 1, 1) + 0.08 * normal(len(pictures), 1, 1, 1)).exp(), (0.2 * normal(1)).exp()
    contrast = (0.2 * normal(1)).exp()
    pictures = ((pictures.clamp(0, 1) ** gamma * gain - 0.5) * contrast + 0.5 + 0.05 * normal(1)).clamp(0, 1)
    blur = torch.rand((len(pictures), 1, 1), generator=generator) * torch.rand((), generator=generator) * 1.2 + 0.05  # pixels
    weights = torch.exp(-0.5 * (torch.arange(-2.0, 3.0) / blur) ** 2)  # [K, 1, 5]
    weights = (weights / weights.sum(-1, keepdim=True)).repeat_interleave(3, 0)  # [3 K, 1, 5]
    flat = F.pad(pictures.flatten(0, 1)[None], (2, 2, 2, 2), mode="replicate")
    flat = F.conv2d(flat, weights[:, :, None], groups=len(weights))
    pictures = F.conv2d(flat, weights[..., None], groups=len(weights))[0].unflatten(0, (-1, 3))
    noise = 0.04 * torch.rand((), generator=generator) ** 2
    return (pictures + noise * normal(*pictures.shape)).clamp(0, 1)
