"""Clips: what is trained on, sampled from and scored."""

from video4spatial.clips.augmentation import AugmentationSettings, augment, cropped, mirrored, mirrored_text, relit
from video4spatial.clips.clip import Clip, Ground, Navigate, Region

__all__ = [
    "AugmentationSettings", "Clip", "Ground", "Navigate", "Region", "augment", "cropped", "mirrored", "mirrored_text",
    "relit",
]  # fmt: skip
