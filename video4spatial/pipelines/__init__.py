"""Scene context, denoising, decoding, exploring."""

from video4spatial.conditioning.plans import PLANS, ContextMaterial, ContextPart, ContextPlan, plan_context
from video4spatial.pipelines.pipeline import Video4SpatialPipeline, VideoOutput
from video4spatial.pipelines.scene_context import SceneContext
from video4spatial.pipelines.session import SceneSession, SessionSettings
from video4spatial.pipelines.from_wan import load_wan_pipeline

__all__ = [
    "PLANS", "ContextMaterial", "ContextPart", "ContextPlan", "SceneContext", "SceneSession", "SessionSettings",
    "Video4SpatialPipeline", "VideoOutput", "load_wan_pipeline", "plan_context",
]  # fmt: skip
