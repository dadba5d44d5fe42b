"""Pairs of videos on disk, generated and reference: which belong together, whether they compare, and their scores."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from video4spatial.cameras import read_cameras
from video4spatial.clips import Clip, Navigate
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.rows.references import mean_colour, static
from video4spatial.evaluation.scoring import ScoredClip, score_clip
from video4spatial.media import image_paths, open_video, resize_and_crop

logger = logging.getLogger(__name__)

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif")
RESULT_MARK, RESULT_CAMERAS = "scores.json", "transforms.json"
"""Files in the folder of each video that `sample.py` made."""
RATE_TOLERANCE = 0.01
"""Relative difference of frame rates that rounding in file headers may explain."""


@dataclass(frozen=True)
class VideoPair:
    """The files of one clip.

    Args:
        name, scene: as the clip's.
        reference: true video, or folder of images.
        generated: the video to score, or None where there is none.
        context: what the model was shown, or None.
        cameras: file of the commanded cameras, or None.
    """

    name: str
    scene: str
    reference: Path
    generated: Path | None = None
    context: Path | None = None
    cameras: Path | None = None


def find_pairs(generated: str, reference: str, context: str | None = None, cameras: str | None = None) -> list[VideoPair]:
    """Find the videos that belong together.

    Args:
        generated, reference: one video (or folder of images) each, or folders of several with the same names. Folders in them are
            scenes.
        context: one video for all clips, or a folder of one per clip.
        cameras: a camera file for one video, or a folder of one per clip.

    Returns:
        A pair per reference.

    Raises:
        ValueError: for videos, contexts or cameras without a partner. A reference without a generated video is none: it counts as a
            failure.
    """
    ours, theirs = _videos(generated), _videos(reference)
    contexts = _videos(context) if context else None
    single = [videos for videos in (ours, theirs) if isinstance(videos, Path)]
    if len(single) == 1:
        raise ValueError(f"{single[0]} is one video and the other side holds several: expected one or several on both sides.")
    if single:
        if isinstance(contexts, dict):
            raise ValueError(f"{context} holds several videos for one generated video.")
        return [VideoPair("generated", theirs.name, theirs, ours, contexts, Path(cameras) if cameras else None)]
    strangers = sorted(set(ours) - set(theirs))
    if strangers:
        raise ValueError(f"{generated}: no reference for {_listed(strangers)} in {reference}.")
    lost = [name for name in theirs if name not in ours]
    if lost:
        logger.warning("%d of %d clips have no generated video and count as failures: %s.", len(lost), len(theirs), _listed(lost))
    files = _camera_files(cameras, list(theirs)) if cameras else {}
    if isinstance(contexts, dict) and set(theirs) - set(contexts):
        raise ValueError(f"{context}: no context for {_listed(sorted(set(theirs) - set(contexts)))}.")
    return [
        VideoPair(name, name.rpartition("/")[0] or name, path, ours.get(name),
                  contexts[name] if isinstance(contexts, dict) else contexts, files.get(name))
        for name, path in theirs.items()
    ]  # fmt: skip


def check_pair(pair: VideoPair) -> int:
    """Refuse what cannot be compared frame by frame, before anything is decoded.

    Returns:
        Bytes of its frames, which are in memory while it is scored.

    Raises:
        ValueError: for different numbers of frames or frame rates, a single frame, or not one camera per frame.
        OSError: for files that cannot be read.
    """
    if pair.generated is None:
        return 0
    with open_video(pair.generated) as generated, open_video(pair.reference) as reference:
        size = sum(3 * len(video) * video.height * video.width for video in (generated, reference))
        count = len(generated)
        if count != len(reference):
            raise ValueError(f"{pair.generated} has {count} frames and {pair.reference} {len(reference)}: expected as many.")
        if count < 2:
            raise ValueError(f"{pair.generated} has {count} frame: frame 0 never counts, so at least 2 are needed.")
        # Images have no times, so nothing can be said about theirs.
        timed = pair.generated.is_file() and pair.reference.is_file()
        rates = generated.frame_rate, reference.frame_rate
        if timed and abs(rates[0] - rates[1]) > RATE_TOLERANCE * max(rates):
            raise ValueError(
                f"{pair.generated} has {rates[0]:g} frames per second and {pair.reference} {rates[1]:g}: frames of one number show "
                "different moments. Bring both to one rate."
            )
    commanded = count if pair.cameras is None else len(read_cameras(pair.cameras))
    if commanded != count:
        raise ValueError(f"{pair.cameras} holds {commanded} cameras for {count} frames: expected one per frame.")
    if pair.context is not None:
        with open_video(pair.context) as context:
            size += 3 * len(context) * context.height * context.width
    return size


def read_pair(pair: VideoPair, anchor: int = -1) -> tuple[Clip, np.ndarray | None]:
    """Read the files of a pair. Reference and context are cropped centrally and resized to the generated video's size.

    Args:
        pair: to be read.
        anchor: frame of the context, from either end.

    Returns:
        A clip that knows what the files tell, without an instruction where no cameras are given, and the generated frames
        [T, H, W, 3] uint8 or None.

    Raises:
        ValueError: for an anchor outside the context.
        OSError: for files that cannot be read.
    """
    original = _read(pair.reference)
    frames = None if pair.generated is None else _read(pair.generated)
    height, width = (original if frames is None else frames).shape[1:3]
    reference = _fitted(original, height, width, pair.reference)
    if frames is not None:
        _warn_of_oddities(frames, reference, pair.generated)
    context = np.zeros((0, height, width, 3), dtype=np.uint8)
    if pair.context is not None:
        context = _fitted(_read(pair.context), height, width, pair.context)
        if not -len(context) <= anchor < len(context):
            raise ValueError(f"anchor {anchor} is outside the {len(context)} frames of {pair.context}.")
    clip = Clip(
        name=pair.name,
        scene=pair.scene,
        context_frames=context,
        context_times=np.arange(len(context), dtype=np.float64),
        instruction=None if pair.cameras is None else Navigate(read_cameras(pair.cameras)),
        anchor=anchor % max(len(context), 1),
        target_frames=reference,
        provenance={"reference": hashlib.sha256(np.ascontiguousarray(original)).hexdigest()},
    )
    return clip, frames


def score_pair(
    clip: Clip, frames: np.ndarray | None, metrics: Sequence[str], advance: Callable[[], None] = lambda: None
) -> dict[str, ScoredClip]:
    """Score a pair, and beside it the references that its context allows.

    Args:
        clip, frames: from `read_pair`.
        metrics: names from the registry.
        advance: called after each metric of each row.

    Returns:
        {row: scored clip}: `generated`, all of whose measurements have failed where there are no frames, and with a context
        `static` and `mean_colour`.
    """
    lost = dict.fromkeys(metrics, Measurement(None, "failed", "there is no generated video"))
    measured = {"generated": lost if frames is None else score_clip(clip, frames, metrics, advance=advance)}
    if len(clip.context_frames):
        measured |= {row.__name__: score_clip(clip, row(clip), metrics, advance=advance) for row in (static, mean_colour)}
    return {row: ScoredClip.of(clip, measurements) for row, measurements in measured.items()}


def _videos(path: str) -> Path | dict[str, Path]:
    """A single video, or the videos of a folder by their names without suffix, those of folders in it with `scene/` before.

    The folder of a result is one video, whatever else lies in it.
    """
    root = Path(path)
    if (video := _video_of_result(root)) is not None:
        return video
    if not root.is_dir() or image_paths(root):
        return root
    found: dict[str, Path] = {}
    results: list[Path] = []
    for entry in sorted(root.rglob("*")):
        name = entry.relative_to(root)
        if any(result in entry.parents for result in results):
            continue
        if (video := _video_of_result(entry)) is not None:
            found[name.as_posix()] = video
            results.append(entry)
        elif entry.is_dir() and image_paths(entry):
            found[name.as_posix()] = entry
        elif entry.is_file() and entry.suffix.lower() in SUFFIXES:
            found[name.with_suffix("").as_posix()] = entry
    if not found:
        raise ValueError(f"{path}: no images, videos, or folders of images in it.")
    return found


def _video_of_result(folder: Path) -> Path | None:
    """The generated video in a folder that `sample.py` wrote, without loss where it lies there; None for other folders."""
    if not (folder / RESULT_MARK).is_file():
        return None
    return next((folder / name for name in ("frames", "video.mp4") if (folder / name).exists()), None)


def _camera_files(folder: str, names: Sequence[str]) -> dict[str, Path]:
    """Files of a folder by their names without suffix, or those of results; each clip must have one."""
    root = Path(folder)
    found = {path.relative_to(root).with_suffix("").as_posix(): path for path in root.rglob("*.*")}
    found |= {path.parent.relative_to(root).as_posix(): path for path in root.rglob(RESULT_CAMERAS) if _video_of_result(path.parent)}
    absent = [name for name in names if name not in found]
    if absent:
        raise ValueError(f"{folder}: no cameras for {_listed(absent)}; expected a file NAME.json or the like per clip.")
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _read(path: Path) -> np.ndarray:
    with open_video(path) as video:
        for note in video.notes:
            logger.warning("%s: %s", path, note)
        return video.read(range(len(video)))


def _fitted(frames: np.ndarray, height: int, width: int, path: Path) -> np.ndarray:
    if frames.shape[1:3] == (height, width):
        return frames
    logger.warning("%s of %dx%d is cropped centrally and resized to %dx%d.", path, *frames.shape[2:0:-1], width, height)
    return resize_and_crop(frames, height, width)[0]


def _warn_of_oddities(frames: np.ndarray, reference: np.ndarray, path: Path) -> None:
    """Frames that can be scored, but say that something went wrong before."""
    blank = np.flatnonzero([picture.reshape(-1, 3).std(0).max() < 0.5 for picture in frames])
    if len(blank):
        shown = ", ".join(map(str, blank[:8])) + (", ..." if len(blank) > 8 else "")
        logger.warning("%s: %d of %d frames are blank (one colour all over): %s.", path, len(blank), len(frames), shown)
    if _is_grey(frames) and not _is_grey(reference):
        logger.warning("%s is grey and the reference has colours: it is scored as it is.", path)


def _is_grey(frames: np.ndarray) -> bool:
    return all((picture == picture[..., :1]).all() for picture in frames)
