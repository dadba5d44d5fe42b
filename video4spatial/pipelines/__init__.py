"""Scene context, denoising, decoding."""

from video4spatial.pipelines.pipeline import NavigationOutput, Video4SpatialPipeline
from video4spatial.pipelines.scene_context import SceneContext

__all__ = ["NavigationOutput", "SceneContext", "Video4SpatialPipeline"]
