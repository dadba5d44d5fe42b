"""The scene's keys and values in every layer: constants of the scene in `causal_context` attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from video4spatial.models.blocks import KeyValue


@dataclass(frozen=True)
class CacheStorage:
    """Where keys and values are kept between uses.

    Args:
        dtype: None keeps what the model computes (exact); a narrower one halves the memory and rounds.
        device: None keeps them where they were computed (exact); `cpu` offloads them: a layer is fetched while the one before it
            is used (exact as well).
    """

    dtype: torch.dtype | None = None
    device: torch.device | str | None = None

    def keep(self, key_value: KeyValue) -> KeyValue:
        """Keys and values as they are stored.

        Args:
            key_value: of a layer, each [B, N, heads, head_dim].
        """
        device = None if self.device is None else torch.device(self.device)
        if device is None or device.type != "cpu" or key_value[0].device.type != "cuda":
            return tuple(tensor.to(device=device, dtype=self.dtype) for tensor in key_value)
        kept = []
        for tensor in key_value:  # pinned memory, so that fetching a layer can run beside the computation
            held = torch.empty(tensor.shape, dtype=self.dtype or tensor.dtype, device=device, pin_memory=True)
            kept.append(held.copy_(tensor))
        return tuple(kept)

    def rounds(self, computed: torch.dtype) -> str | None:
        """What this storage changes of keys and values computed in a dtype, in words; None if it changes nothing."""
        if self.dtype is None or self.dtype == computed or torch.promote_types(self.dtype, computed) == self.dtype:
            return None
        return f"keys and values of {_name(computed)} are stored in {_name(self.dtype)}"


@dataclass(frozen=True)
class ContextCache:
    """Keys and values of an encoded scene, one pair per layer, and how its tokens divide into segments.

    Every segment attended to the older ones and to itself when it was encoded, so a later append changes nothing before it. Nothing
    here is ever changed in place: one cache may serve many threads.

    Args:
        layers: per layer (keys, values), each [B, N, heads, head_dim].
        segments: token count of each segment, oldest first; they add up to N.
        approximations: in words, why this is not exactly what encoding these segments gives; empty if it is.
    """

    layers: tuple[KeyValue, ...]
    segments: tuple[int, ...]
    approximations: tuple[str, ...] = ()

    @property
    def num_tokens(self) -> int:
        """Context tokens held."""
        return sum(self.segments)

    @property
    def num_bytes(self) -> int:
        """Memory of all keys and values."""
        return sum(tensor.numel() * tensor.element_size() for layer in self.layers for tensor in layer)

    @property
    def dtype(self) -> torch.dtype:
        """In which keys and values are stored."""
        return self.layers[0][0].dtype

    @property
    def device(self) -> torch.device:
        """Where keys and values are stored."""
        return self.layers[0][0].device

    def extended(self, layers: Sequence[KeyValue], approximation: str | None = None) -> ContextCache:
        """This cache followed by one more segment (a new object).

        Args:
            layers: the segment's keys and values, per layer.
            approximation: in words, why they are not exact; None if they are.
        """
        joined = tuple(
            (torch.cat([old[0], new[0]], dim=1), torch.cat([old[1], new[1]], dim=1))
            for old, new in zip(self.layers, layers, strict=True)
        )
        return ContextCache(joined, (*self.segments, layers[0][0].shape[1]), _with(self.approximations, approximation))

    def repeated(self, times: int) -> ContextCache:
        """The same scenes with each one `times` times in a row, for several targets per scene."""
        layers = tuple((k.repeat_interleave(times, 0), v.repeat_interleave(times, 0)) for k, v in self.layers)
        return replace(self, layers=layers)

    def expanded(self, batch_size: int) -> ContextCache:
        """The same scene seen by `batch_size` samples, without copying memory."""
        layers = tuple((k.expand(batch_size, -1, -1, -1), v.expand(batch_size, -1, -1, -1)) for k, v in self.layers)
        return replace(self, layers=layers)

    def first(self, segments: int) -> ContextCache:
        """The oldest segments alone, without copying memory; exact, because they never saw the younger ones."""
        tokens = sum(self.segments[:segments])
        layers = tuple((key[:, :tokens], value[:, :tokens]) for key, value in self.layers)
        return replace(self, layers=layers, segments=self.segments[:segments])

    def without(self, segments: Sequence[int]) -> ContextCache:
        """The cache without some segments (by index): approximate, as the younger ones have seen those that go.

        Where only the youngest go, it is exact.
        """
        gone = sorted(set(segments))
        kept = [index for index in range(len(self.segments)) if index not in gone]
        if not gone or kept == list(range(len(kept))):
            return self.first(len(kept))
        pieces = [list(tensor.split(list(self.segments), dim=1)) for layer in self.layers for tensor in layer]
        joined = [torch.cat([piece[index] for index in kept], dim=1) for piece in pieces]
        layers = tuple(zip(joined[::2], joined[1::2]))
        reason = "segments were evicted that younger ones had seen"
        return ContextCache(layers, tuple(self.segments[index] for index in kept), _with(self.approximations, reason))

    def stored(self, storage: CacheStorage) -> ContextCache:
        """The same keys and values kept in another way.

        Args:
            storage: how.
        """
        layers = tuple(storage.keep(layer) for layer in self.layers)
        return ContextCache(layers, self.segments, _with(self.approximations, storage.rounds(self.dtype)))

    def reader(self, device: torch.device, dtype: torch.dtype) -> LayerReader:
        """The layers for one pass through the model.

        Args:
            device, dtype: of the model.
        """
        return LayerReader(self, device, dtype)


class LayerReader:
    """Hands out a cache's layers in order, on the model's device and in its dtype.

    From the CPU to a GPU the next layer is copied on a stream of its own while the current one is used.
    """

    def __init__(self, cache: ContextCache, device: torch.device, dtype: torch.dtype):
        self._cache, self._device, self._dtype = cache, device, dtype
        self._stream = None
        self._fetched: dict[int, tuple[KeyValue, torch.cuda.Event]] = {}
        if device.type == "cuda" and cache.device.type == "cpu":
            self._stream = torch.cuda.Stream(device)

    def __getitem__(self, index: int) -> KeyValue:
        if self._stream is None:
            return tuple(tensor.to(device=self._device, dtype=self._dtype) for tensor in self._cache.layers[index])
        if index not in self._fetched:
            self._fetch(index)
        layer, arrived = self._fetched.pop(index)
        if index + 1 < len(self._cache.layers):
            self._fetch(index + 1)
        current = torch.cuda.current_stream(self._device)
        current.wait_event(arrived)
        for tensor in layer:
            tensor.record_stream(current)  # its memory is not given away while the computation still reads it
        return tuple(tensor.to(self._dtype) for tensor in layer)

    def _fetch(self, index: int) -> None:
        with torch.cuda.stream(self._stream):
            layer = tuple(tensor.to(self._device, non_blocking=True) for tensor in self._cache.layers[index])
            self._fetched[index] = layer, self._stream.record_event()


def _with(approximations: tuple[str, ...], another: str | None) -> tuple[str, ...]:
    return approximations if another is None or another in approximations else (*approximations, another)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
