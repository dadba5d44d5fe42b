"""RealEstate10K text: a URL line, then timestamp, normalised intrinsics and a 3x4 world-to-camera matrix per frame.

Columns: timestamp in microseconds, fx fy cx cy divided by width and height, k1 k2, then 12 numbers of [R | t]
world-to-camera, row by row, OpenCV axes. Lengths come from structure from motion and are not metres.
"""

from pathlib import Path

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.checks import CameraError
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.lenses import Lens
from video4spatial.cameras.rotations import invert_rigid

DESCRIPTION = "text with 19 numbers per line: timestamp, fx fy cx cy, k1 k2, 3x4 world-to-camera (RealEstate10K)"
SUFFIXES: tuple[str, ...] = ()
COLUMNS = 19


def sniff(path: Path) -> bool:
    """Whether the first or second line of `path` holds 19 numbers; only the first may be something else (the URL)."""
    lines = [reading.numbers_of(line) for line in reading.first_lines(path, 2)]
    return any(line is not None and len(line) == COLUMNS for line in lines)


def read(path: Path, stated: Stated) -> CameraFile:
    """Read RealEstate10K text from `path`, in order of time. It holds its own intrinsics: of `stated`, the size of the pictures is the
    lenses' where k1 or k2 is not 0.
    """
    lines = reading.first_lines(path, 1)
    has_url = bool(lines) and reading.numbers_of(lines[0]) is None and not lines[0].startswith("#")
    meaning = "timestamp, fx fy cx cy, k1 k2, 3x4 world-to-camera"
    table = reading.read_table(path, COLUMNS, meaning, header_lines=1 if has_url else 0)
    matrices = table.rows[:, 7:].reshape(-1, 3, 4)
    poses = reading.rigid_poses(matrices[:, :, :3], matrices[:, :, 3])
    order = reading.order_in_time(path, table.rows[:, 0], poses, [f"line {line}" for line in table.lines])
    rows = table.rows[order]
    cameras = Cameras(
        invert_rigid(poses[order]),
        reading.intrinsics_of(rows[:, 1:5]),
        metric=False,
        times=reading.in_seconds(path, rows[:, 0] * 1e-6),
        convention="RealEstate10K: OpenCV world-to-camera, normalised intrinsics",
    )
    lenses = None
    if (rows[:, 5:7] != 0).any():
        height, width = reading.pixel_size(cameras, stated.image_size)
        lenses = tuple(
            Lens.of_pinhole("OPENCV", k, height, width, distortion) for k, distortion in zip(cameras.intrinsics, rows[:, 5:7].tolist())
        )
    return CameraFile(cameras, lenses=lenses)


def write(path: Path, cameras: Cameras, image_size: tuple[int, int] | None) -> None:
    """Write `cameras` as RealEstate10K text to `path`, times rounded to microseconds; `image_size` is not used.

    Skewed intrinsics and missing times are refused.
    """
    if cameras.times is None:
        raise CameraError("RealEstate10K needs a time per frame, which these cameras lack: `frame_rate` gives them")
    if (cameras.intrinsics[:, 0, 1] != 0).any():
        raise CameraError("RealEstate10K cannot hold skewed intrinsics")
    # The first line of the format is a URL; there is none, and readers only skip it.
    lines = ["about:blank"]
    for time, intrinsics, matrix in zip(
        cameras.times.tolist(), cameras.intrinsics.tolist(), cameras.world_to_camera[:, :3].flatten(1).tolist()
    ):
        focal_and_center = [intrinsics[0][0], intrinsics[1][1], intrinsics[0][2], intrinsics[1][2]]
        lines.append(" ".join([str(round(time * 1e6)), *map(repr, [*focal_and_center, 0.0, 0.0, *matrix])]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
