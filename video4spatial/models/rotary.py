"""Rotary positions on the scene clock: float times, so that context and targets keep the true gaps between them."""

import torch


def axis_sizes(attention_head_dim: int) -> tuple[int, int, int]:
    """Channels of one head given to time, height and width (the split of Wan's rotary embedding).

    Args:
        attention_head_dim: channels of one attention head, even.

    Returns:
        (time, height, width) channel counts that add up to `attention_head_dim`.
    """
    spatial = 2 * (attention_head_dim // 6)
    return attention_head_dim - 2 * spatial, spatial, spatial


def _angles(positions: torch.Tensor, channels: int, theta: float) -> torch.Tensor:
    """[...] float64 positions to [..., channels / 2] rotation angles."""
    frequencies = 1.0 / (theta ** (torch.arange(0, channels, 2, dtype=torch.float64) / channels))
    return positions.unsqueeze(-1) * frequencies


def scene_rotary(
    positions: torch.Tensor, height: int, width: int, attention_head_dim: int, device: torch.device, theta: float = 10000.0
) -> torch.Tensor:
    """Rotations for every token of a video whose latents stand at arbitrary times.

    Angles are computed in float64 on the CPU (there are few of them) and handed over in single precision: rotary positions in bfloat16
    collapse beyond 256, and float64 does not exist on every device.

    Args:
        positions: [B, F] position of every latent on the scene clock (1 unit is one target latent).
        height, width: tokens per latent along each picture axis.
        attention_head_dim: channels of one attention head.
        device: where the result is needed.
        theta: base of the frequencies.

    Returns:
        [B, F * height * width, 1, attention_head_dim / 2] complex64, cosine + i sine of the angles.
    """
    batch, frames = positions.shape
    time_size, height_size, width_size = axis_sizes(attention_head_dim)
    time = _angles(positions.detach().to("cpu", torch.float64), time_size, theta)
    rows = _angles(torch.arange(height, dtype=torch.float64), height_size, theta)
    columns = _angles(torch.arange(width, dtype=torch.float64), width_size, theta)
    angles = torch.cat(
        [
            time.view(batch, frames, 1, 1, -1).expand(-1, -1, height, width, -1),
            rows.view(1, 1, height, 1, -1).expand(batch, frames, -1, width, -1),
            columns.view(1, 1, 1, width, -1).expand(batch, frames, height, -1, -1),
        ],
        dim=-1,
    ).reshape(batch, frames * height * width, 1, -1)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64).to(device)


def rotate(hidden_states: torch.Tensor, rotary: torch.Tensor) -> torch.Tensor:
    """Rotate neighbouring channel pairs of queries or keys.

    Args:
        hidden_states: [B, N, heads, head_dim].
        rotary: complex rotations of `scene_rotary`.

    Returns:
        [B, N, heads, head_dim] in the dtype given.
    """
    pairs = torch.view_as_complex(hidden_states.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotary).flatten(-2).type_as(hidden_states)
