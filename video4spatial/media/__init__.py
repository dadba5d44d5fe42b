"""Reading and writing of video and images."""

from video4spatial.media.base import BackendError, MediaError, VideoReader
from video4spatial.media.image_folder import image_paths
from video4spatial.media.reader import open_video
from video4spatial.media.transforms import resize_and_crop
from video4spatial.media.writer import write_images, write_video

__all__ = [
    "BackendError",
    "MediaError",
    "VideoReader",
    "image_paths",
    "open_video",
    "resize_and_crop",
    "write_images",
    "write_video",
]
