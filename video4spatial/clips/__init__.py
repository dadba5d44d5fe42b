"""Clips: what is trained on, sampled from and scored."""

from video4spatial.clips.augmentation import AugmentationSettings, augment, cropped, mirrored, mirrored_text, relit
from video4spatial.clips.clip import Clip
from video4spatial.clips.instruction import Ground, Instruction, Navigate
from video4spatial.clips.regions import Region, parse_region

__all__ = [
    "AugmentationSettings", "Clip", "Ground", "Instruction", "Navigate", "Region", "augment", "cropped", "mirrored", "mirrored_text",
    "parse_region", "relit",
]  # fmt: skip
