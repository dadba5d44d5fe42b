"""The capture: one recorded or simulated walk through a scene."""

from video4spatial.captures.capture import Capture, SceneObject

__all__ = ["Capture", "SceneObject"]
