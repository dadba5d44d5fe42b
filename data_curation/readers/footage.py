"""Plain videos and folders of images: pictures without cameras, usable as context only until poses are found."""

from __future__ import annotations

from pathlib import Path

from data_curation.readers.support import Pictures, ReaderError, scene_name, seen_below
from video4spatial.captures import Capture
from video4spatial.media import VideoReader, image_paths, open_video
from video4spatial.media.image_folder import ImageFolderReader

DESCRIPTION = "video files, or folders of images, without cameras"
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")


def find(source: str) -> list[str]:
    """The video `source`, or a folder of images, or all videos and folders of images below a folder."""
    path = Path(source)
    if path.is_file():
        return [str(path)] if path.suffix.lower() in VIDEO_SUFFIXES else []
    if not path.is_dir():
        return []
    entries = seen_below(path)
    videos = [file for file in entries if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()]
    folders = [folder for folder in (path, *entries) if folder.is_dir() and len(image_paths(folder)) >= 2]
    return sorted(map(str, [*videos, *folders]))


def read(scene: str, frame_rate: float | None = None) -> Capture:
    """A video or folder of images.

    Args:
        scene: path.
        frame_rate: of folders of images, which have no times; default 4 per second.
    """
    path = Path(scene)
    if not path.exists():
        raise ReaderError(f"{path}: no such video or folder")
    video = open_video(path, frame_rate=frame_rate)
    return Capture(
        name=path.stem if path.is_file() else scene_name(path),
        frame_count=len(video),
        height=video.height,
        width=video.width,
        times=video.times,
        read_frames=Pictures(video, tuple(range(len(video)))),
        provenance={
            "reader": "footage", "source": str(path), "convention": "no cameras", "left_out": _left_out(video), "notes": list(video.notes),
        },
        focal_35mm=video.focal_35mm,
    )  # fmt: skip


def _left_out(video: VideoReader) -> dict[str, list[str]]:
    unread = video.left_out if isinstance(video, ImageFolderReader) else []
    return {"ending_not_read": [path.name for path in unread]} if unread else {}
