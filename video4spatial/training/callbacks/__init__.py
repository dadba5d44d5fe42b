"""What a training does beside its steps: one callback per module."""

from video4spatial.training.callbacks.compile_blocks import CompileBlocks
from video4spatial.training.callbacks.export_autoencoder import ExportAutoencoder
from video4spatial.training.callbacks.export_network import ExportNetwork
from video4spatial.training.callbacks.export_pipeline import ExportPipeline
from video4spatial.training.callbacks.interruption import Interrupted, Interruption
from video4spatial.training.callbacks.json_log import JsonLog
from video4spatial.training.callbacks.shown_progress import ShownProgress
from video4spatial.training.callbacks.validation_videos import ValidationVideos
from video4spatial.training.progress import TimeBudget

__all__ = [
    "CompileBlocks", "ExportAutoencoder", "ExportNetwork", "ExportPipeline", "Interrupted", "Interruption", "JsonLog",
    "ShownProgress", "TimeBudget", "ValidationVideos",
]  # fmt: skip
