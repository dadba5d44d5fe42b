"""RealEstate10K: `NAME.txt` of cameras with `NAME.mp4` (or a folder of images) beside it or in `../videos/`.

Intrinsics are divided by the size of the video, so they hold for any decoded size, also where the picture was squashed to another
aspect. Users bring the videos themselves; a missing one is reported as `source_missing`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data_curation.readers.footage import VIDEO_SUFFIXES
from data_curation.readers.support import Pictures, ReaderError, SourceMissing, camera_files, posed_images, seen_below
from video4spatial.cameras.formats import CameraFile, Stated, read_camera_file, realestate10k
from video4spatial.captures import Capture
from video4spatial.files import is_clutter
from video4spatial.media import image_paths, open_video
from video4spatial.media.reader import IMAGE_FOLDER_FRAME_RATE
from video4spatial.media.undistortion import Undistortion

DESCRIPTION = "RealEstate10K text files with their videos or folders of images beside them"


def find(source: str) -> list[str]:
    """Camera files at or below the file or folder `source`."""
    path = Path(source)
    files = [path] if path.is_file() else seen_below(path) if path.is_dir() else []
    return [str(file) for file in files if file.suffix == ".txt" and file.is_file() and realestate10k.sniff(file)]


def read(scene: str) -> Capture:
    """One clip: a camera per frame of its video.

    Args:
        scene: camera file.

    Raises:
        ReaderError: for a file that cannot be read, or a video with another number of frames.
        SourceMissing: where there is no video.
    """
    path = Path(scene)
    if not path.is_file():
        raise ReaderError(f"{path}: no such camera file")
    video_path = _video(path)
    if video_path is None:
        wanted = f"video ({', '.join(VIDEO_SUFFIXES)}) or folder of images"
        raise SourceMissing(f"source_missing: {path.with_suffix('')} has no {wanted}")

    def cameras_of(size: tuple[int, int]) -> CameraFile:
        return read_camera_file(path, "realestate10k", Stated(image_size=size))

    if video_path.is_dir():
        video, file, notes = posed_images(image_paths(video_path), IMAGE_FOLDER_FRAME_RATE, cameras_of)
    else:
        video = open_video(video_path)
        with camera_files() as notes:
            file = cameras_of((video.height, video.width))
        notes += video.notes
    cameras = file.cameras
    if len(video) != len(cameras):
        raise ReaderError(f"{video_path} has {len(video)} frames, {path.name} {len(cameras)} cameras: expected one per frame")
    with camera_files():
        undistortion = Undistortion.of(file.lenses)
    times = np.asarray(video.times if cameras.times is None else cameras.times)
    return Capture(
        name=path.stem,
        frame_count=len(video),
        height=video.height,
        width=video.width,
        times=times - times[0],
        read_frames=Pictures(video, tuple(range(len(video))), undistortion),
        cameras=cameras,
        space=_video_address(path) or path.stem,
        split={"train": "train", "test": "test"}.get(path.parent.name),
        licence="CC-BY-4.0 (cameras); videos belong to their owners",
        provenance={"reader": "realestate10k", "source": str(path), "convention": cameras.convention, "notes": notes},
    )


def _video_address(path: Path) -> str | None:
    """The address in the first line: clips of one video show one house."""
    with path.open(encoding="utf-8") as file:
        first = file.readline().strip()
    return first if first.startswith("http") else None


def inputs(scene: str) -> list[Path]:
    """The camera file `scene` and its video, or the images of its folder."""
    video = _video(Path(scene))
    if video is None or video.is_file():
        return [Path(scene), *([video] if video else [])]
    return [Path(scene), *(file for file in video.iterdir() if file.is_file() and not is_clutter(file.name))]


def _video(path: Path) -> Path | None:
    places = (path, path.parent.parent / "videos" / path.name)
    candidates = [place.with_suffix(suffix) for place in places for suffix in (*VIDEO_SUFFIXES, "")]
    return next((candidate for candidate in candidates if candidate.exists()), None)
