"""How much smaller latents are than pictures, from the configuration of an autoencoder alone: no torch."""

import math
from collections.abc import Mapping


def spatial_compression_of(config: Mapping) -> int:
    """Pixels per latent pixel along each picture axis.

    Args:
        config: of an autoencoder of pictures or video.
    """
    if "z_dim" in config:
        return config.get("scale_factor_spatial", 8)
    return math.isqrt(config["in_channels"] // 3) * 2 ** (len(config["block_out_channels"]) - 1)
