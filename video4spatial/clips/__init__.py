"""Clips: what is trained on, sampled from and scored."""

from video4spatial.clips.clip import Clip, Navigate

__all__ = ["Clip", "Navigate"]
