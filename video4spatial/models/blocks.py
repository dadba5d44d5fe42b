"""Attention and the transformer block, with the parameter names of diffusers' Wan models."""

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.normalization import FP32LayerNorm
from torch import nn

from video4spatial.models.attention import attend
from video4spatial.models.rotary import rotate

KeyValue = tuple[torch.Tensor, torch.Tensor]  # each [B, N, heads, head_dim]


class Attention(nn.Module):
    """Multi-head attention with RMS-normalised queries and keys (normalised across heads, as in Wan).

    Args:
        dim: channels of the tokens.
        heads: number of heads; `dim` is divided among them.
        eps: epsilon of the normalisation.
    """

    def __init__(self, dim: int, heads: int, eps: float):
        super().__init__()
        self.heads = heads
        self.backend: str | None = None  # of its own (`models/attention.py`), or whatever surrounds the call
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(dim, dim)
        self.to_v = nn.Linear(dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim), nn.Dropout(0.0)])
        self.norm_q = nn.RMSNorm(dim, eps=eps)
        self.norm_k = nn.RMSNorm(dim, eps=eps)

    def query(self, hidden_states: torch.Tensor, rotary=None) -> torch.Tensor:
        """Queries of tokens.

        Args:
            hidden_states: [B, N, dim].
            rotary: [B, N, 1, head_dim / 2] complex rotations, or None.

        Returns:
            [B, N, heads, head_dim].
        """
        query = self.norm_q(self.to_q(hidden_states)).unflatten(2, (self.heads, -1))
        return query if rotary is None else rotate(query, rotary)

    def key_value(self, hidden_states: torch.Tensor, rotary=None) -> KeyValue:
        """Keys and values of tokens.

        Args:
            hidden_states: [B, N, dim].
            rotary: [B, N, 1, head_dim / 2] complex rotations of the keys, or None.

        Returns:
            Two tensors [B, N, heads, head_dim].
        """
        key = self.norm_k(self.to_k(hidden_states)).unflatten(2, (self.heads, -1))
        value = self.to_v(hidden_states).unflatten(2, (self.heads, -1))
        return (key if rotary is None else rotate(key, rotary)), value

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend and project: [B, Nq, heads, d] queries over [B, Nk, heads, d] keys to [B, Nq, dim]."""
        return self.to_out[1](self.to_out[0](attend(query, key, value, self.backend)))


class TransformerBlock(nn.Module):
    """Self-attention (over the tokens and, where given, the scene's cached tokens), text cross-attention, feed-forward.

    Args:
        dim, ffn_dim, heads: widths and number of heads.
        cross_attention: whether the block reads text.
        cross_attention_norm: whether the text branch normalises its input with learned weights.
        eps: epsilon of the normalisations.
    """

    def __init__(
        self, dim: int, ffn_dim: int, heads: int, cross_attention: bool, cross_attention_norm: bool, eps: float
    ):
        super().__init__()
        self.norm1 = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.attn1 = Attention(dim, heads, eps)
        self.attn2 = None
        if cross_attention:
            self.attn2 = Attention(dim, heads, eps)
            self.norm2 = FP32LayerNorm(dim, eps, elementwise_affine=True) if cross_attention_norm else nn.Identity()
        self.ffn = FeedForward(dim, inner_dim=ffn_dim, activation_fn="gelu-approximate")
        self.norm3 = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(
        self,
        hidden_states: torch.Tensor,
        modulation: torch.Tensor,
        rotary: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        context: KeyValue | None = None,
        key_value_only: bool = False,
    ) -> tuple[torch.Tensor, KeyValue]:
        """One block.

        Args:
            hidden_states: [B, F, P, dim] tokens of F latents with P tokens each.
            modulation: [B, F or 1, 6, dim] of the timestep.
            rotary: rotations of the F * P tokens (`scene_rotary`).
            encoder_hidden_states: [B, L, dim] projected text, or None to skip the text branch.
            context: keys and values of the scene in this layer, placed before the tokens' own.
            key_value_only: nothing is asked of the tokens after this block: only their keys and values are computed.

        Returns:
            The tokens [B, F, P, dim] (with `key_value_only` as they came) and their own keys and values.
        """
        # [B, F, 6, dim] -> six of [B, F, 1, dim]
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = (
            (self.scale_shift_table.unsqueeze(1) + modulation.float()).unsqueeze(3).unbind(2)
        )
        frames = hidden_states.shape[1]

        normed = (self.norm1(hidden_states.float()) * (1 + scale) + shift).type_as(hidden_states).flatten(1, 2)
        own = self.attn1.key_value(normed, rotary)
        if key_value_only:
            return hidden_states, own
        query = self.attn1.query(normed, rotary)
        key, value = own if context is None else (torch.cat([c, o], dim=1) for c, o in zip(context, own))
        attended = self.attn1(query, key, value).unflatten(1, (frames, -1))
        hidden_states = (hidden_states.float() + attended * gate).type_as(hidden_states)

        if self.attn2 is not None and encoder_hidden_states is not None:
            normed = self.norm2(hidden_states.float()).type_as(hidden_states).flatten(1, 2)
            attended = self.attn2(self.attn2.query(normed), *self.attn2.key_value(encoder_hidden_states))
            hidden_states = hidden_states + attended.unflatten(1, (frames, -1))

        normed = (self.norm3(hidden_states.float()) * (1 + ffn_scale) + ffn_shift).type_as(hidden_states)
        hidden_states = (hidden_states.float() + self.ffn(normed).float() * ffn_gate).type_as(hidden_states)
        return hidden_states, own
