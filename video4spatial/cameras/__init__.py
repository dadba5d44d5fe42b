"""Cameras: one typed object, its algebra, rays, trajectories in words, file formats and their inspection."""

from video4spatial.cameras.cameras import Cameras, viewpoint_distance
from video4spatial.cameras.checks import CameraError
from video4spatial.cameras.formats import FORMATS, CameraFileError, detect_format, read_camera_file, read_cameras, write_cameras
from video4spatial.cameras.intrinsics import CropBox, centre_crop_box, intrinsics_from_fov
from video4spatial.cameras.keyframes import from_keyframes, read_keyframes
from video4spatial.cameras.motions import TrajectoryError
from video4spatial.cameras.rays import camera_rays, plucker_rays, poses_to_latent, project_points
from video4spatial.cameras.trajectories import parse_trajectory

__all__ = [
    "FORMATS",
    "CameraError",
    "CameraFileError",
    "Cameras",
    "CropBox",
    "TrajectoryError",
    "camera_rays",
    "centre_crop_box",
    "detect_format",
    "from_keyframes",
    "intrinsics_from_fov",
    "parse_trajectory",
    "plucker_rays",
    "poses_to_latent",
    "project_points",
    "read_camera_file",
    "read_cameras",
    "read_keyframes",
    "viewpoint_distance",
    "write_cameras",
]
