"""Networks: the transformer with its context cache, camera encoder and geometry heads; the autoencoder's latent scale."""

from video4spatial.models.context_cache import CacheStorage, ContextCache
from video4spatial.models.geometry_heads import Geometry
from video4spatial.models.transformer import TargetPlacement, Video4SpatialTransformer3DModel

__all__ = ["CacheStorage", "ContextCache", "Geometry", "TargetPlacement", "Video4SpatialTransformer3DModel"]
