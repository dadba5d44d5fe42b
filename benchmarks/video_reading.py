"""Which video backend is faster on h264: decides `DEFAULT_BACKEND` of `video4spatial.media.reader`.

    python benchmarks/video_reading.py [--repeats 5] [--output benchmarks/results/video_reading.json]

Encodes moving pictures as h264 with keyframes every 12 and every 250 frames, then times reads that a data loader does:
sorted random, shuffled and contiguous frames, and the whole clip. Every read includes opening the file, as in a worker
that draws another clip each time. The baseline is imageio with its ffmpeg plugin. All readers must return the same
pictures, or the run fails.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import imageio.v2 as imageio
import numpy as np

from video4spatial.evaluation.results import metric, write_results
from video4spatial.media import open_video, resize_and_crop
from video4spatial.media.reader import BACKENDS, DEFAULT_BACKEND

BASELINE = "imageio"
READERS = (*BACKENDS, BASELINE)
# What training and curation ask for; "all" is a curation pass over the clip.
PATTERNS = ("random_sorted", "random_shuffled", "contiguous", "all")


def moving_pictures(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """A camera panning over a wide smooth texture with fine grain.

    Args:
        count: frames.
        height, width: in pixels.
        seed: of the texture.

    Returns:
        uint8 [count, height, width, 3].
    """
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (1, height // 16, 2 * (width // 16), 3), dtype=np.uint8)
    wide = resize_and_crop(coarse, height, 2 * width)[0][0]
    grain = generator.integers(-6, 7, wide.shape)
    wide = np.clip(wide + grain, 0, 255).astype(np.uint8)
    starts = np.linspace(0, wide.shape[1] - width, count).round().astype(int)
    return np.stack([wide[:, start : start + width] for start in starts])


def indices_of(pattern: str, count: int, wanted: int, generator: np.random.Generator) -> np.ndarray:
    """The frames of one read.

    Args:
        pattern: one of `PATTERNS`.
        count: frames of the clip.
        wanted: how many to read.
        generator: that they are drawn from.
    """
    if pattern == "all":
        return np.arange(count)
    if pattern == "contiguous":
        return np.arange(wanted) + generator.integers(0, count - wanted + 1)
    drawn = generator.choice(count, wanted, replace=False)
    return np.sort(drawn) if pattern == "random_sorted" else drawn


def read(reader: str, path: Path, indices: np.ndarray) -> np.ndarray:
    """Open `path` with `reader` and read the frames `indices`: uint8 [n, height, width, 3]."""
    if reader == BASELINE:
        with imageio.get_reader(path, format="FFMPEG") as video:
            return np.stack([video.get_data(int(index)) for index in indices])
    with open_video(path, reader) as video:
        return video.read(indices)


def write_clip(path: Path, frames: np.ndarray, keyframe_interval: int) -> None:
    """Encode `frames` as h264 to `path`, with a keyframe every `keyframe_interval` frames."""
    settings = ["-preset", "veryfast", "-crf", "20", "-g", str(keyframe_interval), "-bf", "3"]
    with imageio.get_writer(
        path, format="FFMPEG", fps=24, codec="libx264", macro_block_size=1, quality=None, output_params=settings
    ) as writer:
        for frame in frames:
            writer.append_data(frame)


def check_equal(frames: dict[str, np.ndarray], what: str) -> None:
    """End the run if the readers returned different `frames` in `what` (rounding of colours apart)."""
    expected = frames[DEFAULT_BACKEND].astype(np.int16)
    for reader, result in frames.items():
        worst = max(np.abs(one - other).mean() for one, other in zip(expected, result, strict=True))
        if worst > 2:
            raise SystemExit(f"{reader} returned other frames than {DEFAULT_BACKEND} in {what}: {worst:.1f}")


def main() -> None:
    """Measure, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=240, help="frames of each clip (default 240)")
    parser.add_argument("--height", type=int, default=480, help="pixels (default 480)")
    parser.add_argument("--width", type=int, default=848, help="pixels (default 848)")
    parser.add_argument("--wanted", type=int, default=49, help="frames of one read (default 49)")
    parser.add_argument("--repeats", type=int, default=5, help="reads of each kind, with new indices (default 5)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "video_reading.json")
    arguments = parser.parse_args()

    seconds = measure(arguments)
    rows = rows_of(seconds)
    supported = print_table(seconds, rows)
    settings = {
        "frames": arguments.frames,
        "height": arguments.height,
        "width": arguments.width,
        "wanted": arguments.wanted,
        "repeats": arguments.repeats,
        "codec": "h264, 3 B-frames, crf 20",
        "includes_opening": True,
        "supported_default": supported,
    }
    write_results(arguments.output, "video_reading", settings, rows)


def measure(arguments: argparse.Namespace) -> dict[tuple[str, str], list[float]]:
    """Seconds of every read, by (reader, case).

    Args:
        arguments: of the command line.
    """
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for interval in (12, 250):
            path = Path(folder) / f"gop_{interval}.mp4"
            write_clip(path, moving_pictures(arguments.frames, arguments.height, arguments.width, interval), interval)
            for pattern in PATTERNS:
                for repeat in range(arguments.repeats):
                    generator = np.random.default_rng([interval, repeat])
                    indices = indices_of(pattern, arguments.frames, arguments.wanted, generator)
                    frames = {}
                    # The order of the readers turns, so that a slow moment of the machine does not always hit the same.
                    for reader in np.roll(READERS, repeat):
                        # The baseline seeks anew for each unsorted frame: seconds a read, so it is timed once there.
                        if reader == BASELINE and pattern == "random_shuffled" and repeat:
                            continue
                        began = time.perf_counter()
                        frames[reader] = read(reader, path, indices)
                        elapsed = time.perf_counter() - began
                        seconds.setdefault((reader, f"{pattern}_gop_{interval}"), []).append(elapsed)
                    check_equal(frames, f"{pattern}, GOP {interval}")
    return seconds


def rows_of(seconds: dict[tuple[str, str], list[float]]) -> list[dict]:
    """Rows of the results.

    Args:
        seconds: of `measure`.
    """
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    cases = list(dict.fromkeys(case for _, case in seconds))
    rows = []
    for reader in READERS:
        metrics = {}
        for case in cases:
            values = [1000 * value for value in seconds[reader, case]]
            # The least and the greatest of 5 hold the median with 94 % probability (sign test).
            low, high = (min(values), max(values)) if len(values) >= 5 else (None, None)
            metrics[f"{case}_ms"] = metric(1000 * medians[reader, case], low=low, high=high, n=len(values))
            metrics[f"{case}_ratio_to_pyav"] = metric(medians[reader, case] / medians["pyav", case], n=len(values))
        ratios = [medians[reader, case] / medians["pyav", case] for case in cases]
        metrics["mean_ratio_to_pyav"] = metric(float(np.exp(np.mean(np.log(ratios)))), n=len(cases))
        rows.append({"name": reader, "metrics": metrics})
    return rows


def print_table(seconds: dict[tuple[str, str], list[float]], rows: list[dict]) -> str:
    """Print the medians, and what they say of the default backend.

    Args:
        seconds: of `measure`.
        rows: of `rows_of`.

    Returns:
        The backend that the numbers support.
    """
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    print(f"{'case':28}" + "".join(f"{reader:>24}" for reader in READERS))
    for case in dict.fromkeys(case for _, case in seconds):
        print(f"{case:28}" + "".join(
            f"{1000 * medians[reader, case]:12.0f} ms ({medians[reader, case] / medians['pyav', case]:5.2f}x)"
            for reader in READERS
        ))  # fmt: skip
    means = {row["name"]: row["metrics"]["mean_ratio_to_pyav"]["value"] for row in rows}
    supported = min(BACKENDS, key=means.__getitem__)
    print("geometric mean of ratios to pyav: " + ", ".join(f"{name} {mean:.2f}" for name, mean in means.items()))
    agrees = "as set" if supported == DEFAULT_BACKEND else f"but DEFAULT_BACKEND is {DEFAULT_BACKEND!r}: change it"
    print(f"the numbers support {supported!r} as the default, {agrees}")
    return supported


if __name__ == "__main__":
    main()
