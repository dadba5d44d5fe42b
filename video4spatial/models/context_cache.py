"""The scene's keys and values in every layer: constants of the scene in `causal_context` attention."""

from dataclasses import dataclass, field

import torch

from video4spatial.models.blocks import KeyValue


@dataclass(frozen=True)
class ContextCache:
    """Keys and values of an encoded scene, one pair per layer, and how its tokens divide into segments.

    Every segment attended to the older ones and to itself when it was encoded, so a later append changes nothing before it.

    Args:
        layers: per layer (keys, values), each [B, N, heads, head_dim].
        segments: token count of each segment, oldest first; they add up to N.
    """

    layers: tuple[KeyValue, ...]
    segments: tuple[int, ...] = field(default=())

    @property
    def num_tokens(self) -> int:
        """Context tokens held."""
        return sum(self.segments)

    @property
    def num_bytes(self) -> int:
        """Memory of all keys and values."""
        return sum(tensor.numel() * tensor.element_size() for layer in self.layers for tensor in layer)

    def extended(self, layers: tuple[KeyValue, ...]) -> "ContextCache":
        """This cache followed by the keys and values of one more segment (a new object)."""
        joined = tuple(
            (torch.cat([old[0], new[0]], dim=1), torch.cat([old[1], new[1]], dim=1))
            for old, new in zip(self.layers, layers, strict=True)
        )
        return ContextCache(joined, (*self.segments, layers[0][0].shape[1]))

    def repeated(self, times: int) -> "ContextCache":
        """The same scenes with each one `times` times in a row, for several targets per scene."""
        layers = tuple((k.repeat_interleave(times, 0), v.repeat_interleave(times, 0)) for k, v in self.layers)
        return ContextCache(layers, self.segments)

    def expanded(self, batch_size: int) -> "ContextCache":
        """The same scene seen by `batch_size` samples, without copying memory."""
        layers = tuple((k.expand(batch_size, -1, -1, -1), v.expand(batch_size, -1, -1, -1)) for k, v in self.layers)
        return ContextCache(layers, self.segments)
