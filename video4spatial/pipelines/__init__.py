"""Scene context, denoising, decoding, exploring; from a clip to a video."""

from video4spatial.conditioning.plan_registry import PLANS
from video4spatial.conditioning.plans import ContextMaterial, ContextPart, ContextPlan, plan_context
from video4spatial.pipelines.generation import Generated, SceneSession, encode_scene, generate
from video4spatial.pipelines.loading import load_wan_pipeline
from video4spatial.pipelines.pipeline import Video4SpatialPipeline, VideoOutput
from video4spatial.pipelines.scene_context import SceneContext
from video4spatial.pipelines.settings import GenerationSettings

__all__ = [
    "PLANS", "ContextMaterial", "ContextPart", "ContextPlan", "Generated", "GenerationSettings", "SceneContext", "SceneSession",
    "Video4SpatialPipeline", "VideoOutput", "encode_scene", "generate", "load_wan_pipeline", "plan_context",
]  # fmt: skip
