"""Rotations and rigid motions in float64: nearest rotation, quaternions (wxyz), interpolation, angles, inverses."""

import math

import torch
from torch import Tensor


def nearest_rotation(matrices: Tensor) -> Tensor:
    """Project matrices onto the nearest rotation in the least-squares sense.

    Text files carry six or seven digits; projecting once at the door keeps long chains of products rigid.

    Args:
        matrices: [..., 3, 3] close to rotations.

    Returns:
        [..., 3, 3] with orthonormal columns and determinant +1 (Kabsch; Umeyama, TPAMI 1991).
    """
    left, _, right = torch.linalg.svd(matrices)
    sign = torch.linalg.det(left @ right)
    left = torch.cat([left[..., :2], left[..., 2:] * sign[..., None, None]], dim=-1)
    return left @ right


def quaternions_from_matrices(matrices: Tensor) -> Tensor:
    """Turn rotation matrices into unit quaternions.

    Args:
        matrices: [..., 3, 3] rotations.

    Returns:
        [..., 4] wxyz with w >= 0. Of the four classical formulas the best conditioned one is used (Shepperd, 1978).
    """
    m00, m11, m22 = matrices[..., 0, 0], matrices[..., 1, 1], matrices[..., 2, 2]
    m01, m02, m12 = matrices[..., 0, 1], matrices[..., 0, 2], matrices[..., 1, 2]
    m10, m20, m21 = matrices[..., 1, 0], matrices[..., 2, 0], matrices[..., 2, 1]
    # Row i is the quaternion multiplied by four times its own component i.
    candidates = torch.stack([
        torch.stack([1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01], dim=-1),
        torch.stack([m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20], dim=-1),
        torch.stack([m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m12 + m21], dim=-1),
        torch.stack([m10 - m01, m02 + m20, m12 + m21, 1 - m00 - m11 + m22], dim=-1),
    ], dim=-2)
    best = torch.diagonal(candidates, dim1=-2, dim2=-1).argmax(dim=-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    quaternions = torch.nn.functional.normalize(candidates.gather(-2, index).squeeze(-2), dim=-1)
    return torch.where(quaternions[..., :1] < 0, -quaternions, quaternions)


def matrices_from_quaternions(quaternions: Tensor) -> Tensor:
    """Turn quaternions (wxyz, any non-zero length) into rotation matrices.

    Args:
        quaternions: [..., 4].

    Returns:
        [..., 3, 3].
    """
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=-1).unbind(-1)
    return torch.stack([
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=-1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=-1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=-1),
    ], dim=-2)


def matrices_from_vectors(vectors: Tensor) -> Tensor:
    """Turn rotation vectors (axis times angle in radians) into rotation matrices.

    Args:
        vectors: [..., 3].

    Returns:
        [..., 3, 3], the exponential of the cross-product matrix (Rodrigues), exact at angle zero.
    """
    half = 0.5 * torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    # sin(x) / x through torch.sinc (which multiplies its argument by pi) needs no special case at zero.
    imaginary = 0.5 * vectors * torch.sinc(half / math.pi)
    return matrices_from_quaternions(torch.cat([torch.cos(half), imaginary], dim=-1))


def slerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """Turn from one rotation to another at constant speed along the shorter way.

    Args:
        start: [..., 3, 3] rotations at weight 0.
        end: [..., 3, 3] rotations at weight 1.
        weight: [...] in [0, 1].

    Returns:
        [..., 3, 3] (Shoemake, SIGGRAPH 1985).
    """
    first, second = quaternions_from_matrices(start), quaternions_from_matrices(end)
    second = torch.where((first * second).sum(-1, keepdim=True) < 0, -second, second)
    # The angle from the chord is accurate for small turns, where acos of the dot product is not.
    chord = torch.linalg.vector_norm(first - second, dim=-1)
    angle = (2 * torch.asin((chord / 2).clamp(max=1)))[..., None]
    weight = weight[..., None]
    # sin(w a) / sin(a), written with sinc so that a = 0 gives w.
    denominator = torch.sinc(angle / math.pi)
    weight_first = (1 - weight) * torch.sinc((1 - weight) * angle / math.pi) / denominator
    weight_second = weight * torch.sinc(weight * angle / math.pi) / denominator
    return matrices_from_quaternions(weight_first * first + weight_second * second)


def rotation_angle_degrees(first: Tensor, second: Tensor) -> Tensor:
    """Angle of the rotation that takes one orientation to another.

    Args:
        first: [..., 3, 3] rotations.
        second: [..., 3, 3] rotations.

    Returns:
        [...] degrees in [0, 180]. The Frobenius distance is 2 sqrt(2) sin(angle / 2), accurate near zero.
    """
    distance = torch.linalg.matrix_norm(first - second)
    return torch.rad2deg(2 * torch.asin((distance / (2 * math.sqrt(2))).clamp(max=1)))


def invert_rigid(poses: Tensor) -> Tensor:
    """Invert rigid motions exactly: transpose the rotation, turn the translation back.

    Args:
        poses: [..., 4, 4].

    Returns:
        [..., 4, 4].
    """
    inverse = torch.zeros_like(poses)
    inverse[..., :3, :3] = poses[..., :3, :3].mT
    inverse[..., :3, 3:] = -poses[..., :3, :3].mT @ poses[..., :3, 3:]
    inverse[..., 3, 3] = 1
    return inverse
