"""Compiled transformer blocks."""

import lightning
import torch


class CompileBlocks(lightning.Callback):
    """Compiles the transformer's blocks. The first steps take minutes, the others less than before.

    Args:
        variants: compiled forms of a block that are kept: with and without gradients, context and cameras.
    """

    def __init__(self, variants: int = 32):
        self.variants = variants

    def setup(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        """Mark the blocks; they are compiled when first used."""
        torch._dynamo.config.cache_size_limit = self.variants
        module.transformer.compile_repeated_blocks(dynamic=True)
