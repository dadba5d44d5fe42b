"""Augmentation of training clips: lighting, occluders, viewpoint and mirroring, each consistent over the whole clip."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from kornia.enhance import adjust_brightness, adjust_contrast, adjust_gamma, adjust_hue, adjust_saturation
from kornia.geometry import resize
from torch import Tensor

from video4spatial.cameras import Cameras, CropBox
from video4spatial.cameras.intrinsics import crop_matrix
from video4spatial.clips.clip import Clip
from video4spatial.clips.cropping import crop_view
from video4spatial.clips.instruction import Ground


@dataclass(frozen=True)
class AugmentationSettings:
    """How often clips are augmented, and how much.

    Args:
        lighting_probability: of a clip to be relit; one draw for all its frames, context and target alike.
        brightness: least and greatest amount added to all colours, which run from 0 to 1.
        contrast: least and greatest factor on the distance from middle grey.
        gamma: least and greatest exponent; above 1 darkens the shadows.
        saturation: least and greatest factor.
        hue_degrees: least and greatest turn of the hue circle in degrees.
        mirror_probability: of left and right to be swapped, in pictures, cameras, boxes and words.
        viewpoint_probability: of the whole clip to be seen through a smaller window.
        zoom: least and greatest magnification, at least 1. Objects to be found are never cut off, by zooming less if need be.
        occluder_probability: of things to pass before the camera, in the context alone and never in the anchor's frame.
        occluder_count: least and greatest number of them.
        occluder_frames: least and greatest number of consecutive context frames in which one is seen.
        occluder_width: least and greatest width as a share of the picture's.

    Raises:
        ValueError: naming every probability and range that is impossible.
    """

    lighting_probability: float = 0.5
    brightness: tuple[float, float] = (-0.1, 0.1)
    contrast: tuple[float, float] = (0.85, 1.2)
    gamma: tuple[float, float] = (0.8, 1.25)
    saturation: tuple[float, float] = (0.75, 1.25)
    hue_degrees: tuple[float, float] = (-8.0, 8.0)
    mirror_probability: float = 0.5
    viewpoint_probability: float = 0.3
    zoom: tuple[float, float] = (1.05, 1.4)
    occluder_probability: float = 0.2
    occluder_count: tuple[int, int] = (1, 2)
    occluder_frames: tuple[int, int] = (1, 4)
    occluder_width: tuple[float, float] = (0.15, 0.4)

    def __post_init__(self):
        problems = [
            f"{name} {value}: give a number from 0 to 1"
            for name, value in asdict(self).items()
            if name.endswith("_probability") and not 0 <= value <= 1
        ]
        limits = {
            "brightness": (-1, 1), "contrast": (0, math.inf), "gamma": (0, math.inf), "saturation": (0, math.inf),
            "hue_degrees": (-180, 180), "zoom": (1, math.inf), "occluder_count": (1, math.inf),
            "occluder_frames": (1, math.inf), "occluder_width": (0, 1),
        }  # fmt: skip
        for name, (least, greatest) in limits.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= greatest:
                problems.append(f"{name} {low} to {high}: give a range within {least} to {greatest}")
        if problems:
            raise ValueError("; ".join(problems) + ".")


def augment(clip: Clip, settings: AugmentationSettings, seed: int) -> Clip:
    """A clip changed at random, with cameras, depth, boxes and words that still fit its pictures.

    Args:
        clip: left as it is.
        settings: what is done how often and how much.
        seed: 0 or greater; the same seed always makes the same clip.

    Returns:
        The clip under the same name; `provenance["augmentation"]` tells what was done.
    """
    # Each kind draws from its own stream, so that changing the settings of one leaves the others as they were.
    viewpoint, mirror, occluders, lighting = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(4))
    done = {"seed": seed, "settings": asdict(settings)}
    if viewpoint.random() < settings.viewpoint_probability:
        box = _drawn_window(clip, settings, viewpoint)
        clip, done["window"] = cropped(clip, box), box._asdict()
    if mirror.random() < settings.mirror_probability:
        clip, done["mirrored"] = mirrored(clip), True
    if occluders.random() < settings.occluder_probability:
        clip, done["occluders"] = _occluded(clip, settings, occluders)
    if lighting.random() < settings.lighting_probability:
        names = ("brightness", "contrast", "gamma", "saturation", "hue_degrees")
        done["lighting"] = {name: float(lighting.uniform(*getattr(settings, name))) for name in names}
        clip = relit(clip, **done["lighting"])
    return replace(clip, provenance={**clip.provenance, "augmentation": done})


# ---- lighting ---------------------------------------------------------------------------------------------------


def relit(
    clip: Clip,
    *,
    brightness: float = 0.0,
    contrast: float = 1.0,
    gamma: float = 1.0,
    saturation: float = 1.0,
    hue_degrees: float = 0.0,
) -> Clip:
    """The clip in another light: one map of colours for all its frames.

    Args:
        clip: left as it is.
        brightness, contrast, gamma, saturation, hue_degrees: as in `AugmentationSettings`.
    """

    def change(picture: Tensor) -> Tensor:
        picture = adjust_gamma(picture, gamma)
        # Contrast about middle grey, not about each picture's own mean, which would flicker.
        picture = adjust_contrast(picture, contrast, clip_output=False)
        picture = adjust_brightness(picture, brightness + (1 - contrast) / 2)
        return adjust_hue(adjust_saturation(picture, saturation), math.radians(hue_degrees))

    return replace(
        clip,
        context_frames=_each_picture(clip.context_frames, change),
        target_frames=None if clip.target_frames is None else _each_picture(clip.target_frames, change),
    )


# ---- viewpoint --------------------------------------------------------------------------------------------------


def cropped(clip: Clip, box: CropBox) -> Clip:
    """The clip seen through a window, enlarged to the size it had.

    Colours are resized bicubically and depth takes the nearest pixel's. Boxes are clipped; those outside become NaN.

    Args:
        clip: with pictures of one size.
        box: the window in pixels of the clip; another aspect than the picture's leaves pixels that are not square.

    Raises:
        ValueError: for a window that is not in the picture, or that loses the region that alone names the object.
    """
    size = clip.context_frames.shape[1:3]
    crop_matrix(box, *size)  # refuses a window outside the picture, also where there are no cameras
    rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
    return clip.viewed(
        frames=lambda frames: _each_picture(
            frames[:, rows, columns], lambda picture: resize(picture, size, "bicubic", align_corners=False)
        ),
        depth=lambda depth: resize(torch.from_numpy(depth[:, rows, columns].copy()), size, "nearest-exact").numpy(),
        **crop_view(box, *size),
    )


def _drawn_window(clip: Clip, settings: AugmentationSettings, generator: np.random.Generator) -> CropBox:
    """A window of the picture's aspect. The object to find stays whole in the last frame and in its region."""
    size = np.array(clip.context_frames.shape[1:3])
    kept = [] if clip.target_boxes is None else [clip.target_boxes[-1]]
    if isinstance(clip.instruction, Ground) and clip.instruction.region is not None:
        kept.append(clip.instruction.region.box)
    kept = np.array([box for box in kept if np.isfinite(box).all()]).reshape(-1, 2, 2)[..., ::-1]  # [K, corner, (y, x)]
    zoom = generator.uniform(*settings.zoom)
    low, high = size, np.zeros(2, dtype=int)
    if len(kept):
        low = np.floor(kept[:, 0].min(axis=0) * size).astype(int)
        high = np.ceil(kept[:, 1].max(axis=0) * size).astype(int)
        zoom = max(1.0, min(zoom, (size / (high - low)).min()))
    window = np.maximum(np.round(size / zoom).astype(int), np.maximum(high - low, 1))
    top, left = generator.integers(np.maximum(high - window, 0), np.minimum(low, size - window), endpoint=True)
    return CropBox(int(top), int(left), int(window[0]), int(window[1]))


# ---- mirror -----------------------------------------------------------------------------------------------------


def mirrored(clip: Clip) -> Clip:
    """The clip in a world whose left and right are swapped: pictures, depth, cameras, boxes and the words of its text.

    All cameras are mirrored at the same plane of their world, so that they keep fitting each other and the pictures.

    Args:
        clip: left as it is.
    """
    if "texts" in clip.provenance:  # other ways to say the instruction
        clip = replace(clip, provenance={**clip.provenance, "texts": [mirrored_text(text) for text in clip.provenance["texts"]]})
    if clip.target_object is not None:
        x, y, z = clip.target_object.center
        clip = replace(clip, target_object=replace(clip.target_object, center=(-x, y, z), yaw=-clip.target_object.yaw))
    return clip.viewed(
        frames=lambda frames: np.ascontiguousarray(frames[:, :, ::-1]),
        depth=lambda depth: np.ascontiguousarray(depth[:, :, ::-1]),
        cameras=_mirrored_cameras,
        boxes=lambda boxes: np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1),
        text=mirrored_text,
    )


def _mirrored_cameras(cameras: Cameras) -> Cameras:
    # The world and the camera's own x axis are both turned around, which leaves a proper rotation.
    flip = torch.diag(torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64))
    columns = torch.tensor([[-1.0, 0, 1], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)  # u becomes 1 - u
    return replace(
        cameras,
        camera_to_world=flip @ cameras.camera_to_world @ flip,
        intrinsics=columns @ cameras.intrinsics @ flip[:3, :3],
    )


_SIDES = re.compile(
    # "right next to" and its like mean "directly", unless a side is clearly meant ("on the right near the door").
    r"(?<!\bthe )(?<!\byour )(?<!\bturn )\bright (?:next to|beside|behind|in front|under|underneath|below|above|near|away|now)\b"
    r"|\b(?P<side>left|right)(?=(?:most|wards?|hand(?:ed)?|side)?\b)"
    r"|\b(?P<against>anti-?|counter-?)?(?P<turn>clockwise)\b",
    re.IGNORECASE,
)


def mirrored_text(text: str) -> str:
    """An instruction for the mirrored world: left and right are swapped, and so are clockwise and counterclockwise.

    Whole words only, with their case: "leftmost", "right-hand" and "anticlockwise" count, "upright" does not.

    Args:
        text: the instruction.
    """

    def swap(match: re.Match) -> str:
        if match["side"]:
            return _in_case_of(match[0], "right" if match["side"].lower() == "left" else "left")
        if match["turn"]:
            return _in_case_of(match[0], "clockwise" if match["against"] else "counterclockwise")
        return match[0]

    return _SIDES.sub(swap, text)


def _in_case_of(model: str, word: str) -> str:
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word


# ---- occluders --------------------------------------------------------------------------------------------------


def _occluded(clip: Clip, settings: AugmentationSettings, generator: np.random.Generator) -> tuple[Clip, list[dict]]:
    """People and boxes that pass before the camera in a few context frames, and which frames those are."""
    frames = clip.context_frames.copy()
    depth = None if clip.context_depth is None else clip.context_depth.copy()
    count, height, width = frames.shape[:3]
    # The target repeats the anchor's frame, and a region must show its object.
    clean = {clip.anchor}
    if isinstance(clip.instruction, Ground) and clip.instruction.region is not None:
        clean.add(clip.instruction.region.frame)
    done = []
    for _ in range(generator.integers(*settings.occluder_count, endpoint=True)):
        length = int(generator.integers(*settings.occluder_frames, endpoint=True))
        starts = [start for start in range(count - length + 1) if clean.isdisjoint(range(start, start + length))]
        if not starts:
            continue
        start = int(generator.choice(starts))
        person = bool(generator.random() < 0.5)
        across = max(2, round(width * generator.uniform(*settings.occluder_width)))
        tall = max(2, round(across * (generator.uniform(1.8, 2.6) if person else generator.uniform(0.5, 1.5))))
        thing, shape = _passer_by(person, tall, across, generator)
        # People reach down to the picture's lower edge or beyond, boxes are carried at any height.
        top = max(height - tall, 0) if person else int(generator.integers(0, max(height - tall, 0), endpoint=True))
        # From just outside one edge to just outside the other.
        path = (np.arange(length) + generator.uniform(0.25, 0.75)) / length * (width + across) - across
        if generator.random() < 0.5:
            path = width - across - path
        for frame, left in zip(range(start, start + length), path.round().astype(int).tolist(), strict=True):
            rows, columns = slice(top, min(top + tall, height)), slice(max(left, 0), min(left + across, width))
            inside = slice(rows.stop - top), slice(columns.start - left, columns.stop - left)
            covered = shape[inside]
            frames[frame, rows, columns][covered] = thing[inside][covered]
            if depth is not None:
                depth[frame, rows, columns][covered] = 0  # unknown: what is behind is hidden
        done.append({"kind": "person" if person else "box", "frames": list(range(start, start + length))})
    return replace(clip, context_frames=frames, context_depth=depth), done


def _passer_by(person: bool, height: int, width: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Colours [height, width, 3] uint8 and outline [height, width] bool of something of one colour, unevenly lit."""
    colour = generator.uniform(30, 220, 3) + generator.uniform(-30, 30, (5, 4, 1))
    smooth = resize(torch.from_numpy(colour).permute(2, 0, 1), (height, width), "bilinear", align_corners=False)
    picture = smooth.permute(1, 2, 0).clamp(0, 255).round().to(torch.uint8).numpy()
    if not person:
        return picture, np.ones((height, width), dtype=bool)
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width * 2 - 1, indexing="ij")
    head = (x / 0.45) ** 2 + ((y - 0.15) / 0.15) ** 2 <= 1
    shoulders = (np.abs(x) ** 3 + np.maximum(0.5 - y, 0) ** 3 / 0.22**3 <= 1) & (y > 0.25)
    return picture, head | shoulders


# ---- shared -----------------------------------------------------------------------------------------------------


def _each_picture(frames: np.ndarray, change: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Pictures [N, H, W, 3] uint8, changed one by one: equal pictures stay equal to the last bit, and memory is spared.

    Args:
        frames: [N, H, W, 3] uint8.
        change: of one picture [3, H, W] float32 from 0 to 1.
    """
    pictures = [change(torch.from_numpy(frame.copy()).permute(2, 0, 1).float() / 255) for frame in frames]
    return (torch.stack(pictures).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
