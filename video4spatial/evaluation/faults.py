"""Known faults, to find out what metrics see: the true video of a simulated clip made worse by degrees, and cheats.

The functions at the top are pure: of cameras, frames or a scene and a level, 0 of which changes nothing. A `Degradation` applies
one of them to a clip. Frame 0, the anchor, is given and never changes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import matrices_from_vectors, slerp
from video4spatial.clips import Clip, Navigate
from video4spatial.evaluation.rows.references import blur, copy_nearest, static
from video4spatial.simulation.pieces import BOX
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scenes import Scene, generate_scene

METRES_PER_DEGREE = 0.01
"""How far `camera_noise` moves a camera for each degree that it turns it."""

WARP_SMOOTHNESS = 6.0
"""Gaussian in pixels at a height of 64 that makes the warp of `swimming` smooth."""

LOOK_SIZE = 32
"""Side of the pictures on which objects and free places are looked for."""

OBJECT_SHARE = (0.01, 0.35)
"""Share of the pictures that an object to move may fill."""

ROOM_TO_INSERT = 0.8
"""Least distance in metres between cameras and an inserted object's middle."""


def camera_noise(cameras: Cameras, degrees: float, seed: int = 0) -> Cameras:
    """Turn each camera after the first about an axis of its own, and move it a centimetre per degree.

    Args:
        cameras: T cameras.
        degrees: by which each is turned.
        seed: of the axes and directions.
    """
    vectors = np.random.default_rng(seed).normal(size=(2, len(cameras), 3))
    axes, directions = torch.from_numpy(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
    motion = torch.eye(4, dtype=torch.float64).repeat(len(cameras), 1, 1)
    motion[1:, :3, :3] = matrices_from_vectors(np.radians(degrees) * axes[1:])
    motion[1:, :3, 3] = METRES_PER_DEGREE * degrees * directions[1:]
    return replace(cameras, camera_to_world=cameras.camera_to_world @ motion)


def scale_drift(cameras: Cameras, drift: float) -> Cameras:
    """Shorten steps more and more along the path.

    Args:
        cameras: T cameras.
        drift: share of the last step that is lost, 0 to 1; the first is kept whole.
    """
    steps = torch.diff(cameras.positions, dim=0)
    factors = 1 - drift * torch.linspace(0, 1, len(steps), dtype=steps.dtype)[:, None]
    return _at(cameras, torch.cat([cameras.positions[:1], cameras.positions[:1] + torch.cumsum(factors * steps, 0)]))


def wrong_turn(cameras: Cameras, share: float) -> Cameras:
    """Turn the other way.

    Args:
        cameras: T cameras.
        share: 0 to 1; at 0.5 the camera does not turn at all, at 1 its turn is mirrored.
    """
    kept = 1 - 2 * share
    turns = cameras.rotations[:1].mT @ cameras.rotations
    turns = slerp(torch.eye(3, dtype=turns.dtype).expand_as(turns), turns, torch.full(turns.shape[:1], abs(kept)))
    poses = cameras.camera_to_world.clone()
    poses[:, :3, :3] = cameras.rotations[:1] @ (turns if kept >= 0 else turns.mT)
    return replace(cameras, camera_to_world=poses)


def backwards(cameras: Cameras, share: float) -> Cameras:
    """Go the other way, turning as before.

    Args:
        cameras: T cameras.
        share: 0 to 1; at 0.5 the camera stands still, at 1 it goes backwards.
    """
    start = cameras.positions[:1]
    return _at(cameras, start + (1 - 2 * share) * (cameras.positions - start))


def frozen(frames: np.ndarray, share: float) -> np.ndarray:
    """Let the end of a video stand still.

    Args:
        frames: [T, H, W, 3] uint8.
        share: of frames 1..T-1, from the end.
    """
    return frames[np.minimum(np.arange(len(frames)), len(frames) - 1 - round(share * (len(frames) - 1)))]


def replaced(frames: np.ndarray, others: np.ndarray, share: float) -> np.ndarray:
    """Show other frames at the end of a video.

    Args:
        frames, others: [T, H, W, 3] uint8 each.
        share: of frames 1..T-1, from the end.
    """
    kept = len(frames) - round(share * (len(frames) - 1))
    return np.concatenate([frames[:kept], others[kept:]])


def swimming(frames: np.ndarray, pixels: float, seed: int = 0) -> np.ndarray:
    """Warp every frame smoothly in a way of its own.

    Args:
        frames: [T, H, W, 3] uint8.
        pixels: root mean square of the shifts at a height of 64.
        seed: of the warps.
    """
    height, width = frames.shape[1:3]
    scale = height / 64
    noise = np.random.default_rng(seed).normal(size=(len(frames), height, width, 2))
    shifts = gaussian_filter(noise, (0, WARP_SMOOTHNESS * scale, WARP_SMOOTHNESS * scale, 0))
    shifts *= pixels * scale / np.sqrt((shifts**2).sum(-1).mean((1, 2)))[:, None, None, None]
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    maps = (shifts + np.stack([columns, rows], -1)).astype(np.float32)
    return np.stack([cv2.remap(f, m, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT) for f, m in zip(frames, maps)])


def object_moved(scene: Scene, instance: int, displacement: np.ndarray) -> Scene:
    """Move an object.

    Args:
        scene: with the object.
        instance: id of the object.
        displacement: [3] metres.
    """
    return replace(scene, center=scene.center + np.float32(displacement) * (scene.instance == instance)[:, None])


def object_inserted(scene: Scene, place: np.ndarray, edge: float, like: int) -> Scene:
    """Hang a box in the air.

    Args:
        scene: to put it into.
        place: [3] metres, its middle.
        edge: metres.
        like: index of the primitive of the scene that it is coloured and lit like.
    """
    added = {"kind": BOX, "center": place, "half": (edge / 2,) * 3, "yaw": 0.5, "instance": len(scene.labels) + 1}
    fields = ("kind", "center", "half", "yaw", "instance", "face_layers", "uv_scale", "uv_offset", "light_gain", "emission")
    packed = {name: getattr(scene, name) for name in fields}
    return replace(scene, **{
        name: np.concatenate([rows, np.asarray([added.get(name, rows[like])], dtype=rows.dtype)])
        for name, rows in packed.items()
    })  # fmt: skip


def texture_faded(scene: Scene, share: float) -> Scene:
    """Take contrast from all textures.

    Args:
        scene: to change.
        share: 0 to 1; at 1 every surface has one colour.
    """
    texels = scene.texels.copy()
    for offset, height, width in scene.layers:
        picture = texels[offset : offset + height * width]
        picture += share * (picture.mean(0) - picture)
    return replace(scene, texels=texels)


def _at(cameras: Cameras, positions: torch.Tensor) -> Cameras:
    poses = cameras.camera_to_world.clone()
    poses[:, :3, 3] = positions
    return replace(cameras, camera_to_world=poses)


@dataclass(frozen=True)
class Stage:
    """A simulated clip with what its degraded videos are made of.

    Args:
        clip: with true frames and cameras.
        other: a clip of another scene, for `scene_swap`.
    """

    clip: Clip
    other: Clip

    @cached_property
    def scene(self) -> Scene:
        """The clip's scene."""
        return generate_scene(self.clip.provenance["scene_seed"])

    @property
    def cameras(self) -> Cameras:
        """The true cameras of the clip."""
        return self.clip.target_cameras

    def film(self, cameras: Cameras | None = None, scene: Scene | None = None) -> np.ndarray:
        """The true video with other cameras, in another scene, or both.

        Args:
            cameras, scene: default the clip's own.

        Returns:
            [T, H, W, 3] uint8; frame 0 stays the anchor.
        """
        return _after_anchor(self, film(self.clip, cameras, scene))

    @cached_property
    def swapped(self) -> Clip:
        """The other scene's clip with the motion of this one, started from the frame of its context that has most room."""
        motion, starts = self.cameras.relative_to(0), self.other.context_cameras
        paths = [motion.placed_at(starts[index]) for index in range(len(starts))]
        free_space = generate_scene(self.other.provenance["scene_seed"]).free_space
        best = int(np.argmax([free_space.clearance(path.positions.numpy()).min() for path in paths]))
        return replace(
            self.other, instruction=Navigate(paths[best]), anchor=best, target_cameras=paths[best],
            target_frames=None, target_depth=None,
        )  # fmt: skip

    @cached_property
    def object_to_move(self) -> tuple[int, np.ndarray] | None:
        """The object that the true video shows best, and the sideways direction [3] that keeps it in sight; or None."""
        low, high = OBJECT_SHARE
        shares = {o.instance_id: self._shown(self.scene, o.instance_id).mean() for o in self.scene.objects if o.movable}
        shares = {instance: share for instance, share in shares.items() if low <= share <= high}
        if not shares:
            return None
        instance = max(shares, key=shares.get)
        sideways = self.cameras.right[len(self.cameras) // 2].numpy() * (1, 1, 0)
        ways = [sideways / np.linalg.norm(sideways), -sideways / np.linalg.norm(sideways)]
        return instance, max(ways, key=lambda way: self._shown(object_moved(self.scene, instance, 0.5 * way), instance).mean())

    @cached_property
    def free_place(self) -> np.ndarray | None:
        """A place [3] in mid-air that most frames see, clear of all cameras; None without one."""
        depth = self.clip.target_depth
        middle = depth[:, depth.shape[1] // 2, depth.shape[2] // 2]
        positions, forward = self.cameras.positions.numpy(), self.cameras.forward.numpy()
        places = [p + share * d * f for share in (0.45, 0.6, 0.75) for p, d, f in zip(positions, middle, forward)]
        clear = [place for place in places if np.linalg.norm(positions - place, axis=1).min() >= ROOM_TO_INSERT]
        if not clear:
            return None
        instance = len(self.scene.labels) + 1

        def seen(place: np.ndarray) -> float:
            return float((self._shown(object_inserted(self.scene, place, 0.3, 0), instance) > 0).mean())

        return max(clear, key=seen)

    def _shown(self, scene: Scene, instance: int) -> np.ndarray:
        """[T - 1] share of each frame that an instance fills."""
        return (render(scene, self.cameras[1:], LOOK_SIZE, LOOK_SIZE).instance == instance).mean((1, 2))


def film(clip: Clip, cameras: Cameras | None = None, scene: Scene | None = None) -> np.ndarray:
    """What cameras show of a simulated clip's scene.

    Args:
        clip: whose picture size and sampling are taken.
        cameras, scene: default the clip's own.

    Returns:
        [T, H, W, 3] uint8.
    """
    cameras = clip.target_cameras if cameras is None else cameras
    scene = generate_scene(clip.provenance["scene_seed"]) if scene is None else scene
    height, width = clip.context_frames.shape[1:3]
    return render(scene, cameras, height, width, supersample=clip.provenance["supersample"]).rgb


@dataclass(frozen=True)
class Degradation:
    """One way to make the true video worse.

    Args:
        name: what metrics declare in `sees`, from `measurement.DEGRADATIONS`.
        levels: rising, the least first.
        unit: of the levels.
        apply: (stage, level) -> [T, H, W, 3] uint8, or None where the clip does not allow it.
    """

    name: str
    levels: tuple[float, ...]
    unit: str
    apply: Callable[[Stage, float], np.ndarray | None]


def _move_object(stage: Stage, metres: float) -> np.ndarray | None:
    if stage.object_to_move is None:
        return None
    instance, way = stage.object_to_move
    return stage.film(scene=object_moved(stage.scene, instance, metres * way))


def _insert_object(stage: Stage, edge: float) -> np.ndarray | None:
    if stage.free_place is None:
        return None
    movable = [candidate.instance_id for candidate in stage.scene.objects if candidate.movable]
    like = int(np.flatnonzero(np.isin(stage.scene.instance, movable))[0])
    return stage.film(scene=object_inserted(stage.scene, stage.free_place, edge, like))


SHARES = (0.25, 0.5, 0.75, 1.0)
"""Levels of what is wrong with the last part of a video."""

Video = Callable[[Stage, float], np.ndarray | None]


def _filmed(change: Callable[[Cameras, float], Cameras]) -> Video:
    """The video along changed cameras."""
    return lambda stage, level: stage.film(change(stage.cameras, level))


def _changed(change: Callable[[np.ndarray, float], np.ndarray]) -> Video:
    """The true frames, changed."""
    return lambda stage, level: _after_anchor(stage, change(stage.clip.target_frames, level))


def _ended(video: Callable[[Stage], np.ndarray]) -> Video:
    """The true frames, with another video at the end."""
    return lambda stage, level: replaced(stage.clip.target_frames, video(stage), level)


_ALL = (
    Degradation("camera_noise", (0.5, 1, 2, 5, 10, 20), "degrees", _filmed(camera_noise)),
    Degradation("scale_drift", (0.2, 0.4, 0.6, 0.8, 1.0), "of a step", _filmed(scale_drift)),
    Degradation("wrong_turn", (0.1, 0.25, 0.5, 0.75, 1.0), "of the turn", _filmed(wrong_turn)),
    Degradation("backwards", (0.1, 0.25, 0.5, 0.75, 1.0), "of the path", _filmed(backwards)),
    Degradation("frozen", SHARES, "of the frames", _changed(frozen)),
    Degradation("static", SHARES, "of the frames", _ended(lambda stage: static(stage.clip))),
    Degradation("copied_context", SHARES, "of the frames", _ended(lambda stage: copy_nearest(stage.clip))),
    Degradation("scene_swap", SHARES, "of the frames", _ended(lambda stage: film(stage.swapped))),
    Degradation("blur", (0.5, 1, 2, 3, 4), "px at 64", _changed(blur)),
    Degradation("swimming", (0.25, 0.5, 1, 2, 4), "px at 64", _changed(swimming)),
    Degradation("object_moved", (0.1, 0.2, 0.4, 0.7, 1.0), "m", _move_object),
    Degradation("hallucinated_target", (0.1, 0.2, 0.3, 0.4, 0.5), "m", _insert_object),
)

GRADED: dict[str, Degradation] = {degradation.name: degradation for degradation in _ALL}
"""Degradations by name."""

CHEATS = ("backwards", "wrong_turn", "scene_swap", "blur", "static", "copied_context", "reversed", "shuffled")
"""Videos that imitate an honest one without doing what was asked; see `cheats`."""

CHEAT_BLUR = 2.0
"""Pixels at a height of 64 of the cheat `blur`."""


def cheats(stage: Stage, video: Callable[[Clip], np.ndarray]) -> dict[str, np.ndarray]:
    """Videos that imitate an honest one without doing what was asked.

    Args:
        stage: the clip.
        video: makes the honest video of a clip: a model, or the truth through an autoencoder. It makes the videos of wrong cameras
            and scenes too, so that a cheat differs from the honest video only in what is wrong.

    Returns:
        {name: [T, H, W, 3] uint8}, first `honest`.
    """
    clip = stage.clip
    honest = video(clip)

    def along(cameras: Cameras) -> np.ndarray:
        return video(replace(clip, instruction=Navigate(cameras), target_cameras=cameras))

    order = np.random.default_rng(clip.provenance["scene_seed"]).permutation(len(honest) - 1)
    videos = {
        "honest": honest,
        "backwards": along(backwards(stage.cameras, 1.0)),
        "wrong_turn": along(wrong_turn(stage.cameras, 1.0)),
        "scene_swap": video(stage.swapped),
        "blur": blur(honest, CHEAT_BLUR),
        "static": static(stage.clip),
        "copied_context": copy_nearest(clip),
        "reversed": np.concatenate([honest[:1], honest[:0:-1]]),
        "shuffled": np.concatenate([honest[:1], honest[1:][order]]),
    }
    return {name: _after_anchor(stage, frames) for name, frames in videos.items()}


def _after_anchor(stage: Stage, frames: np.ndarray) -> np.ndarray:
    return np.concatenate([stage.clip.target_frames[:1], frames[1:]])
