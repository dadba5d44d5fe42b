"""Rays through pixels, their Plücker coordinates, and the packing of cameras into latents."""

import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.checks import CameraError, float64

PLUCKER_ORDERS = ("moment_direction", "direction_moment")


def camera_rays(
    cameras: Cameras,
    height: int,
    width: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Rays through the centres of all pixels, in the world.

    The 3x3 matrices are multiplied and inverted in float64 on the CPU; only the result goes to `device`, in `dtype`.

    Args:
        cameras: [..., T] cameras.
        height: rows of the pixel grid, which may be coarser than the picture (intrinsics are normalised).
        width: columns of the pixel grid.
        dtype: of the result.
        device: of the result; the CPU by default.

    Returns:
        origins [..., T, height, width, 3] (a view: every pixel of a camera shares one origin) and unit directions
        [..., T, height, width, 3].

    Raises:
        CameraError: for an empty grid.
    """
    origins, directions = _rays_by_channel(cameras, height, width, dtype, device)
    directions = directions.movedim(-3, -1).contiguous()
    return origins[..., None, None, :].expand(directions.shape), directions


def plucker_rays(
    cameras: Cameras,
    height: int,
    width: int,
    order: str = "moment_direction",
    device: torch.device | str | None = None,
) -> Tensor:
    """Plücker coordinates of the rays through all pixels.

    Args:
        cameras: [..., T] cameras, usually relative to an anchor.
        height: rows of the pixel grid.
        width: columns of the pixel grid.
        order: "moment_direction" for (o x d, d), as CameraCtrl; "direction_moment" for (d, o x d), as SEVA.
        device: of the result; the CPU by default.

    Returns:
        [..., T, 6, height, width] float32.

    Raises:
        CameraError: for an unknown order or an empty grid.
    """
    if order not in PLUCKER_ORDERS:
        raise CameraError(f"unknown order of Plücker coordinates {order!r}: choose one of {', '.join(PLUCKER_ORDERS)}")
    origins, directions = _rays_by_channel(cameras, height, width, torch.float32, device)
    # The cross product is written out: faster than torch.cross across a leading axis, and free of its trap
    # (without `dim` it takes the first axis of size 3, which may be the batch or time).
    origin_x, origin_y, origin_z = origins[..., None, None].unbind(-3)
    x, y, z = directions.unbind(-3)
    moments = torch.stack(
        [origin_y * z - origin_z * y, origin_z * x - origin_x * z, origin_x * y - origin_y * x], dim=-3
    )
    parts = [moments, directions] if order == "moment_direction" else [directions, moments]
    return torch.cat(parts, dim=-3)


def poses_to_latent(plucker: Tensor, temporal_compression: int) -> Tensor:
    """Pack the cameras of the frames that share a latent into its channels.

    A causal autoencoder with temporal compression c turns 1 + c k frames into 1 + k latents. The first latent holds one
    frame: its camera is repeated c times. Latent i > 0 holds frames c (i - 1) + 1 ... c i, in order of time.

    Args:
        plucker: [..., T, C, H, W] with T = 1 + c k.
        temporal_compression: c >= 1; with 1 the input is returned unchanged.

    Returns:
        [..., 1 + k, c C, H, W].

    Raises:
        CameraError: for another T.
    """
    compression = temporal_compression
    if compression < 1 or plucker.ndim < 4:
        raise CameraError(
            f"poses_to_latent needs [..., T, C, H, W] and a compression of at least 1, given {list(plucker.shape)} and "
            f"{compression}"
        )
    frames = plucker.shape[-4]
    if frames < 1 or (frames - 1) % compression:
        shorter = max(frames - 1, 0) // compression * compression + 1
        raise CameraError(
            f"{frames} cameras do not fill latents of {compression} frames: "
            f"give {shorter} or {shorter + compression} (1 + {compression} k)"
        )
    first = plucker[..., :1, :, :, :].repeat_interleave(compression, dim=-4)
    padded = torch.cat([first, plucker[..., 1:, :, :, :]], dim=-4)
    grouped = padded.unflatten(-4, (-1, compression))  # [..., 1 + k, c, C, H, W]
    return grouped.flatten(-4, -3)


def project_points(cameras: Cameras, points: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Project points of the world into pictures of a given size.

    Args:
        cameras: [..., T] cameras.
        points: [..., N, 3] in the world, the same points for all T cameras.
        height: height of the picture in pixels.
        width: width of the picture in pixels.

    Returns:
        pixels [..., T, N, 2] as (column, row) with pixel centres at +0.5, and depth [..., T, N] along the viewing
        axis. Pixels mean nothing where the depth is not positive.
    """
    points = float64(points)[..., None, :, :]
    world_to_camera = cameras.world_to_camera
    in_camera = points @ world_to_camera[..., :3, :3].mT + world_to_camera[..., None, :3, 3]
    projected = in_camera @ cameras.pixel_intrinsics(height, width).mT
    return projected[..., :2] / projected[..., 2:], in_camera[..., 2]


def _rays_by_channel(
    cameras: Cameras, height: int, width: int, dtype: torch.dtype, device: torch.device | str | None
) -> tuple[Tensor, Tensor]:
    """Origins [..., T, 3] and unit directions [..., T, 3, height, width]."""
    if height < 1 or width < 1:
        raise CameraError(f"rays need at least one pixel, given height {height}, width {width}")
    pixel_to_world = cameras.rotations @ torch.linalg.inv(cameras.intrinsics)  # [..., T, 3, 3]
    pixel_to_world = pixel_to_world.to(dtype).to(device)[..., None, None]
    rows = ((torch.arange(height, dtype=dtype, device=device) + 0.5) / height)[:, None]
    columns = (torch.arange(width, dtype=dtype, device=device) + 0.5) / width
    # The product with (column, row, 1), written out: faster than a matrix product of 3x3 per pixel.
    along_columns, along_rows, offset = (pixel_to_world[..., index, :, :] for index in range(3))
    directions = along_columns * columns + (along_rows * rows + offset)
    directions = directions / directions.square().sum(-3, keepdim=True).sqrt()
    return cameras.positions.to(dtype).to(device), directions
