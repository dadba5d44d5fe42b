"""The checks behind `Cameras`: every problem of an input is named, with its frames."""

import torch
from torch import Tensor

ROTATION_TOLERANCE = 2e-3
"""Largest accepted error of an entry of RᵀR: files with three digits pass, scaled or sheared matrices do not."""


class CameraError(ValueError):
    """Cameras that cannot be: wrong shapes, values that are not numbers, matrices that are not rigid motions."""


class CameraFileError(CameraError):
    """A camera file that cannot be read or written; the message names the file and, for tables, the line."""


def float64(values) -> Tensor:
    """A float64 copy on the CPU, cut from any graph.

    Args:
        values: tensor, array or nested list.
    """
    # First to the CPU, then to float64, which some devices lack. A copy, so that nobody can change it from outside.
    return torch.as_tensor(values).detach().cpu().to(torch.float64, copy=True)


def shape_problems(camera_to_world: Tensor, intrinsics: Tensor, times: Tensor | None) -> list[str]:
    """What is wrong with the shapes given to `Cameras`, in words.

    Args:
        camera_to_world: should be [..., T, 4, 4].
        intrinsics: should broadcast to [..., T, 3, 3].
        times: should broadcast to [..., T], or None.
    """
    shape = tuple(camera_to_world.shape)
    if len(shape) < 3 or shape[-2:] != (4, 4) or shape[-3] == 0:
        return [f"camera_to_world must be [..., T, 4, 4] with T >= 1, given {list(shape)}"]
    problems = []
    for name, given, wanted in [
        ("intrinsics", tuple(intrinsics.shape), (*shape[:-2], 3, 3)),
        ("times", () if times is None else tuple(times.shape), shape[:-2]),
    ]:
        missing = name == "intrinsics" and given[-2:] != (3, 3)
        if missing or len(given) > len(wanted) or any(
            size not in (1, target) for size, target in zip(reversed(given), reversed(wanted))
        ):
            problems.append(f"{name} must fit {list(wanted)}, given {list(given)}")
    return problems


def value_problems(camera_to_world: Tensor, intrinsics: Tensor, times: Tensor | None) -> list[str]:
    """What is wrong with the values given to `Cameras`, in words, with frame numbers.

    Args:
        camera_to_world: [..., T, 4, 4].
        intrinsics: [..., T, 3, 3].
        times: [..., T], or None.
    """
    problems = []

    def report(bad: Tensor, message: str) -> None:
        # bad: [..., T]; frames are named whatever the batch entry.
        frames = bad.reshape(-1, bad.shape[-1]).any(0).nonzero().flatten().tolist()
        if frames:
            shown = ", ".join(map(str, frames[:5])) + (", ..." if len(frames) > 5 else "")
            problems.append(f"{message} (frame {shown})" if len(frames) == 1 else f"{message} (frames {shown})")

    finite = camera_to_world.isfinite().all(-1).all(-1)
    report(~finite, "camera_to_world holds NaN or infinity")
    rotation = camera_to_world[..., :3, :3]
    error = (rotation.mT @ rotation - torch.eye(3, dtype=torch.float64)).abs().amax((-1, -2))
    rigid = error <= ROTATION_TOLERANCE
    report(finite & ~rigid, "the upper left 3x3 of camera_to_world is not a rotation: its columns must be "
                            "perpendicular unit vectors (is a scale left in it?)")
    # The determinant of a matrix with NaN has no sign, so it is asked only of good frames.
    checked = rotation.where((finite & rigid)[..., None, None], torch.eye(3, dtype=torch.float64))
    mirrored = torch.linalg.det(checked) < 0
    report(mirrored, "the rotation is mirrored (determinant -1): a left-handed system such as Unreal's?")
    last_row = (camera_to_world[..., 3, :] - torch.tensor([0, 0, 0, 1.0], dtype=torch.float64)).abs().amax(-1)
    report(finite & (last_row > 1e-6), "the last row of camera_to_world is not 0 0 0 1 (a transposed matrix?)")
    focal = torch.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], -1)
    last_row = (intrinsics[..., 2, :] - torch.tensor([0, 0, 1.0], dtype=torch.float64)).abs().amax(-1)
    good = intrinsics.isfinite().all(-1).all(-1)
    report(~good, "intrinsics hold NaN or infinity")
    report(good & ((focal <= 0).any(-1) | (last_row > 1e-6)),
           "intrinsics need positive focal lengths and the last row 0 0 1")
    center = intrinsics[..., :2, 2]
    report(good & ((center.abs() > 10).any(-1) | (focal > 100).any(-1)),
           "intrinsics look like pixels: divide row 0 by the width and row 1 by the height")
    if times is not None:
        report(~times.isfinite(), "times hold NaN or infinity")
    return problems
