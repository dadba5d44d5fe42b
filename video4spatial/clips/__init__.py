"""Clips: what is trained on, sampled from and scored."""

from video4spatial.clips.clip import Clip, Ground, Navigate, Region

__all__ = ["Clip", "Ground", "Navigate", "Region"]
