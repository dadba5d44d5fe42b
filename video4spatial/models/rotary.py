"""Rotary positions on the scene clock: float times, so that context and targets keep the true gaps between them."""

import torch

FINEST_TURN = 24.0  # periods of the finest compass channel in a full turn: 15 degrees each


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


def grid_angles(
    height: int, width: int, theta_channels: tuple[int, int], theta: float, pool: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Angles of a token's row [height, c] and column [width, c] on the picture's own grid, as in Wan.

    A token that stands for a square of `pool` x `pool` tokens has its place in the middle of them.
    """
    return tuple(
        _angles(torch.arange(count, dtype=torch.float64) * pool + (pool - 1) / 2, channels, theta)
        for count, channels in zip((height, width), theta_channels)
    )


def compass_angles(directions: torch.Tensor, channels: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Angles of the direction a token looks in: whole multiples of its elevation and azimuth, so that a full turn closes.

    Tokens of different frames that look the same way then stand in the same place, whatever camera they were seen from.

    Args:
        directions: [B, F, P, 3] unit vectors in OpenCV axes of one common camera.
        channels: of a head, for height and width.

    Returns:
        Angles for elevation [B, F, P, c / 2] and azimuth [B, F, P, c / 2] in float64.
    """
    x, y, z = directions.detach().to("cpu", torch.float64).unbind(-1)
    result = []
    for angle, count in zip((y.clamp(-1, 1).asin(), torch.atan2(x, z)), channels):
        steps = torch.arange(count // 2, dtype=torch.float64)
        geometric = (FINEST_TURN ** (steps / max(count // 2 - 1, 1))).round()
        result.append(angle.unsqueeze(-1) * torch.maximum(steps + 1, geometric))
    return tuple(result)


def scene_rotary(
    positions: torch.Tensor,
    height: int,
    width: int,
    attention_head_dim: int,
    device: torch.device,
    directions: torch.Tensor | None = None,
    pool: int = 1,
    theta: float = 10000.0,
) -> torch.Tensor:
    """Rotations for every token of a video whose latents stand at arbitrary times.

    Angles are computed in float64 on the CPU (there are few of them) and handed over in single precision: rotary positions in
    bfloat16 collapse beyond 256, and float64 does not exist on every device.

    Args:
        positions: [B, F] position of every latent on the scene clock (1 unit is one target latent).
        height, width: tokens per latent along each picture axis.
        attention_head_dim: channels of one attention head.
        device: where the result is needed.
        directions: [B, F, height * width, 3] where each token looks, for positions on the compass; None for the grid.
        pool: side of the square of tokens on the grid that each token stands for.
        theta: base of the frequencies of time and grid.

    Returns:
        [B, F * height * width, 1, attention_head_dim / 2] complex64, cosine + i sine of the angles.
    """
    batch, frames = positions.shape
    time_size, *spatial = axis_sizes(attention_head_dim)
    time = _angles(positions.detach().to("cpu", torch.float64), time_size, theta)
    time = time.view(batch, frames, 1, -1).expand(-1, -1, height * width, -1)
    if directions is None:
        rows, columns = grid_angles(height, width, spatial, theta, pool)
        rows = rows.view(height, 1, -1).expand(-1, width, -1).reshape(1, 1, height * width, -1)
        columns = columns.view(1, width, -1).expand(height, -1, -1).reshape(1, 1, height * width, -1)
        rows, columns = (angles.expand(batch, frames, -1, -1) for angles in (rows, columns))
    else:
        rows, columns = compass_angles(directions, spatial)
    angles = torch.cat([time, rows, columns], dim=-1).flatten(1, 2).unsqueeze(2)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64).to(device)


def rotate(hidden_states: torch.Tensor, rotary: torch.Tensor) -> torch.Tensor:
    """Rotate neighbouring channel pairs of queries or keys.

    Args:
        hidden_states: [B, N, heads, head_dim].
        rotary: complex rotations of `scene_rotary`.

    Returns:
        [B, N, heads, head_dim] in the dtype given.
    """
    pairs = hidden_states.float().unflatten(-1, (-1, 2))
    if not torch.compiler.is_compiling():
        return torch.view_as_real(torch.view_as_complex(pairs) * rotary).flatten(-2).type_as(hidden_states)
    # torch.compile fuses real numbers, not complex ones
    (even, odd), cosine, sine = pairs.unbind(-1), rotary.real, rotary.imag
    turned = torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1)
    return turned.flatten(-2).type_as(hidden_states)
