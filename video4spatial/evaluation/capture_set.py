"""Test sets cut out of posed captures, in the frozen form of those of rooms: recipes that name frames, read again when used.

    entries, notes = cut_captures(captures)                  # captures as `data_curation.readers` give them
    write_test_set(path, capture_set(entries, settings))
    entries = load_capture_set(path, captures)               # the same clips again
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.captures import Capture
from video4spatial.clips import Clip
from video4spatial.clips.assembly import clip_from_capture
from video4spatial.clips.manifest import ClipRow
from video4spatial.evaluation.capture_depth import moved_depth
from video4spatial.evaluation.capture_windows import CutSettings, Window, capture_scale, capture_windows
from video4spatial.evaluation.scoring import CAPTURE
from video4spatial.evaluation.test_set import StaleTestSetError, fingerprint, fingerprint_differences
from video4spatial.geometry.visibility import seen_from
from video4spatial.naming import did_you_mean
from video4spatial.parsing import parse_json
from video4spatial.waits import track

KIND = "captures"
"""`kind` of such a test set; those of rooms have none."""

NAME = "captures"
"""Name of a set that was cut just now."""

DESCRIBED = (
    "capture", "scene", "reader", "scale", "metric", "path_metres", "turned_degrees", "net_rotation_degrees", "depth",
    "context_sees", "anchor_sees",
)  # fmt: skip
"""What of a recipe results files repeat."""

RECIPE = (*DESCRIBED, "context_frames", "target_frames", "fingerprint")
"""What a recipe holds."""

CHECK_SIZE = 64
"""Height of the pictures on which it is measured what the context sees."""


@dataclass(frozen=True)
class CaptureClip:
    """One clip of a capture, read when it is loaded.

    Args:
        name, scene: as the loaded clip's.
        recipe: the entry of the test set's file.
        capture: that it is cut out of.
    """

    name: str
    scene: str
    recipe: dict
    capture: Capture

    def check(self) -> None:
        """Compare the capture with what is known of it.

        Raises:
            StaleTestSetError: if it is not the one that the clip was cut out of.
        """
        context, target = self.recipe["context_frames"], self.recipe["target_frames"]
        if max(*context, *target) >= len(self.capture):
            differences = [f"it has {len(self.capture)} frames"]
        else:
            differences = fingerprint_differences(self.recipe["fingerprint"], _fingerprint(self.capture, context, target))
        if differences:
            raise StaleTestSetError(
                f"capture {self.capture.name} is not what it was when clip {self.name} was cut: {'; '.join(differences)}. Give "
                "the capture of the figures you compare with, or cut anew (leave `test_set` out) and measure everything again."
            )

    def load(self, size: int = 64, width: int | None = None) -> Clip:
        """Read the clip's frames, cropped centrally to the aspect that is asked for; cameras and depth follow.

        Args:
            size: height of all frames in pixels.
            width: of all frames in pixels; default the height.

        Raises:
            StaleTestSetError: if the capture is not the one that the clip was cut out of.
        """
        self.check()
        context, target = self.recipe["context_frames"], self.recipe["target_frames"]
        clip = clip_from_capture(_row(self), self.capture, size, width or size)
        context_depth, context_origin = self._depth(clip.context_depth, context, clip.context_cameras)
        target_depth, target_origin = self._depth(clip.target_depth, target, clip.target_cameras)
        return replace(
            clip,
            context_depth=context_depth,
            target_depth=target_depth,
            provenance={
                "source": CAPTURE, "capture": self.capture.name, "reader": self.recipe["reader"], "context_frames": list(context),
                "target_frames": list(target), "scale": self.recipe["scale"], "height": size, "width": width or size,
                "fingerprint": self.recipe["fingerprint"], "depth": {"context": context_origin, "target": target_origin},
            },
        )  # fmt: skip

    def _depth(self, depth: np.ndarray | None, frames: list[int], cameras: Cameras) -> tuple[np.ndarray | None, dict]:
        """Depth of frames, moved to those that have none of their own, and how many have which; None where nothing is known."""
        if depth is None:
            return None, {"measured": 0, "moved": 0}
        measured = int((depth > 0).any((1, 2)).sum())
        depth, moved = moved_depth(self.capture, frames, depth, cameras, self.recipe["scale"])
        return (depth if (depth > 0).any() else None), {"measured": measured, "moved": int(moved.sum())}


def cut_captures(captures: Sequence[Capture], settings: CutSettings = CutSettings()) -> tuple[list[CaptureClip], list[str]]:
    """Cut captures into clips.

    Args:
        captures: with cameras, of different names.
        settings: how.

    Returns:
        The clips in the order of the captures, and a sentence for each capture that gives none.

    Raises:
        ValueError: for two captures of one name.
    """
    _by_name(captures)
    entries, notes = [], []
    for capture in track(captures, "cutting captures"):
        windows = [] if capture.cameras is None else capture_windows(capture, settings)
        entries += [_entry(capture, window, settings) for window in windows]
        if not windows:
            why = "has no cameras" if capture.cameras is None else _why_no_window(capture, settings)
            notes.append(f"capture {capture.name} is left out: it {why}.")
    return entries, notes


def _why_no_window(capture: Capture, settings: CutSettings) -> str:
    if len(capture) <= settings.frames:
        return f"has {len(capture)} frames, and a target of {settings.frames} leaves none for the context"
    (least, most), (low, high) = settings.path_range, settings.rotation_range
    return (
        f"has no stretch of {settings.frames} frames that moves evenly, {least:g} to {most:g} m or {low:g} to {high:g} degrees, "
        "and leaves frames for the context"
    )


def capture_set(entries: Sequence[CaptureClip], settings: CutSettings, name: str = NAME) -> dict:
    """What a test set's file holds; `test_set.write_test_set` writes it.

    Args:
        entries: of `cut_captures`.
        settings: they were cut with.
        name: of the set.
    """
    return {"name": name, "kind": KIND, "settings": asdict(settings), "clips": [entry.recipe for entry in entries]}


def load_capture_set(path: str | os.PathLike, captures: Sequence[Capture]) -> list[CaptureClip]:
    """The clips of a frozen test set.

    Args:
        path: its file.
        captures: among which are those that it was cut out of.

    Raises:
        ValueError: for a file of another form, or a capture that is not given.
        OSError: for a file that cannot be read.
    """
    path = Path(path)
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        recipes = content["clips"]
        kind = content.get("kind")
        names = [recipe["capture"] for recipe in recipes]
        incomplete = sorted({key for recipe in recipes for key in RECIPE if key not in recipe}) if kind == KIND else []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a test set ({type(error).__name__}: {error}).") from error
    if kind != KIND:
        raise ValueError(f"{path}: a test set of simulated rooms: leave `captures` out.")
    if incomplete:
        raise ValueError(f"{path}: clips without {', '.join(incomplete)}: expected a file that `write_test_set` wrote.")
    known = _by_name(captures)
    absent = sorted({name for name in names if name not in known})
    if absent:
        hint = did_you_mean(absent[0], list(known))
        raise ValueError(f"{path} is cut out of {', '.join(absent)}, not among `captures`{hint}: there are {', '.join(known)}.")
    return [CaptureClip(_clip_name(recipe), recipe["scene"], recipe, known[recipe["capture"]]) for recipe in recipes]


def described(entry: CaptureClip) -> dict:
    """What a results file says of a clip: where it comes from, how it moves, and what the context sees of it."""
    recipe = entry.recipe
    target, context = recipe["target_frames"], recipe["context_frames"]
    return {
        "clip": entry.name, "target_frames": [target[0], target[-1]], "stride": target[1] - target[0],
        "context_frames": len(context), **{name: recipe[name] for name in DESCRIBED},
    }  # fmt: skip


def seen_shares(clip: Clip) -> dict[str, dict]:
    """How much of the target the context shows, and the anchor alone: by depth, where it is known.

    Args:
        clip: with cameras of context and target.

    Returns:
        `context_sees` and `anchor_sees`: cells with `value` (share of those pixels of frames 1..T-1 whose depth is known that a
        context frame sees) and `status`, and the `reason` where there is no value; `depth_known`, the share of those pixels among
        all, stands beside the first.
    """
    lacking = [name for name, depth in (("target", clip.target_depth), ("context", clip.context_depth)) if depth is None]
    known = None if lacking else clip.target_depth[1:] > 0
    if lacking or not known.any():
        reason = f"no frame of the {' and of the '.join(lacking)} has depth" if lacking else "no frame of the target has depth"
        return dict.fromkeys(("context_sees", "anchor_sees"), {"value": None, "status": "missing", "reason": reason})
    seen = seen_from(clip.target_cameras[1:], clip.target_depth[1:], clip.context_cameras, clip.context_depth)

    def cell(mask: np.ndarray) -> dict:
        return {"value": round(float(mask[known].mean()), 3), "status": "ok"}

    anchor = {"value": None, "status": "missing", "reason": "the anchor frame has no depth"}
    if (clip.context_depth[clip.anchor] > 0).any():
        anchor = cell(seen[:, clip.anchor])
    return {"context_sees": cell(seen.any(1)) | {"depth_known": round(float(known.mean()), 3)}, "anchor_sees": anchor}


def _entry(capture: Capture, window: Window, settings: CutSettings) -> CaptureClip:
    recipe = {
        "capture": capture.name,
        "scene": capture.space,
        "reader": capture.provenance.get("reader", ""),
        "context_frames": list(window.context),
        "target_frames": list(window.target),
        "scale": round(capture_scale(capture, settings.frame_rate), 6),
        "metric": capture.cameras.metric,
        "path_metres": window.path_metres,
        "turned_degrees": window.turned_degrees,
        "net_rotation_degrees": window.net_rotation_degrees,
        "fingerprint": _fingerprint(capture, window.context, window.target),
    }
    entry = CaptureClip(_clip_name(recipe), capture.space, recipe, capture)
    clip = entry.load(CHECK_SIZE)
    return replace(entry, recipe=recipe | {"depth": clip.provenance["depth"]} | seen_shares(clip))


def _clip_name(recipe: dict) -> str:
    return f"{recipe['capture']}-{recipe['target_frames'][0]:05d}"


def _by_name(captures: Sequence[Capture]) -> dict[str, Capture]:
    known: dict[str, Capture] = {}
    for capture in captures:
        if capture.name in known:
            places = " and ".join(str(each.provenance.get("source")) for each in (known[capture.name], capture))
            raise ValueError(f"two captures are named {capture.name} ({places}): rename the folder of one.")
        known[capture.name] = capture
    return known


def _fingerprint(capture: Capture, context: Sequence[int], target: Sequence[int]) -> dict:
    """Of the cameras as captured, and of whole pictures: no size and no crop is part of it."""
    ends = capture.read_frames([target[0], target[-1]])
    return fingerprint(capture.cameras[list(context)], capture.cameras[list(target)], ends)


def _row(entry: CaptureClip) -> ClipRow:
    """The clip as data sets note it down."""
    recipe, capture = entry.recipe, entry.capture
    context, target = list(recipe["context_frames"]), list(recipe["target_frames"])
    cameras, times = capture.cameras[context + target], np.asarray(capture.times, dtype=np.float64)
    return ClipRow(
        key=entry.name, kind="navigation", split="test", space=entry.scene, capture=capture.name, reader=recipe["reader"],
        scene=capture.name, options={}, content="", convention=cameras.convention, licence=capture.licence,
        redistributable=capture.redistributable, height=capture.height, width=capture.width, metric=cameras.metric,
        scale=recipe["scale"], context_frames=tuple(context), context_times=tuple((times[context] - times[context[0]]).tolist()),
        anchor=context.index(target[0]), target_frames=tuple(target),
        target_times=tuple((times[target] - times[target[0]]).tolist()),
        camera_to_world=cameras.camera_to_world.numpy(), intrinsics=cameras.intrinsics.expand(len(cameras), 3, 3).numpy(),
    )  # fmt: skip
