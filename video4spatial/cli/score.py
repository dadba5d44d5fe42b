"""`v4s score`: compare a generated video with a reference video."""

from video4spatial.cli.arguments import Parser, integer
from video4spatial.cli.errors import user_mistakes
from video4spatial.cli.output_folder import check_file
from video4spatial.cli.terminal import note, route_messages, say

PIXEL_METRICS = ("psnr", "ssim", "gradient_correlation", "motion", "frozen_share", "flicker")
CAMERA_METRICS = ("epipolar_error_px", "epipolar_consistency")


def score_parser() -> Parser:
    """Options of `v4s score`."""
    parser = Parser(
        "v4s score",
        "Compare a generated video with a reference. Frame 0, the anchor, never counts. The reference is cropped\n"
        "centrally and resized to the generated video's size where they differ.",
    )
    add = parser.add_argument
    add("--generated", metavar="PATH", required=True, help="generated video, or folder of images")
    add("--reference", metavar="PATH", required=True, help="true video, or folder of images, with as many frames")
    add("--context", metavar="PATH",
        help="context video: adds the rows static (its anchor frame repeated) and mean_colour")  # fmt: skip
    add("--anchor", metavar="N", type=integer(), default=-1,
        help="anchor frame of the context, from either end (default %(default)s)")  # fmt: skip
    add("--cameras", metavar="FILE", help="cameras that were commanded, one per frame: adds epipolar consistency")
    add("--json", metavar="FILE", help="file to write the figures to (default: none)")
    return parser


def main(arguments: list[str]) -> None:
    """Run `v4s score`."""
    options = score_parser().parse(arguments)
    from video4spatial.evaluation.references import mean_colour, static
    from video4spatial.evaluation.results import write_results
    from video4spatial.evaluation.scorecard import score_clip

    route_messages()
    with user_mistakes():
        check_file(options.json, "--json")
        clip, frames = _clip(options)
    metrics = PIXEL_METRICS + (CAMERA_METRICS if options.cameras else ())
    scored = {"generated": score_clip(clip, frames, metrics)}
    if options.context is not None:
        scored |= {row.__name__: score_clip(clip, row(clip), metrics) for row in (static, mean_colour)}
    for name, measurements in scored.items():
        say(name)
        for metric, measurement in measurements.items():
            shown = measurement.reason if measurement.value is None else f"{measurement.value:.4f}"
            say(f"  {metric:24}{shown}")
    if options.json is not None:
        settings = {name: getattr(options, name) for name in ("generated", "reference", "context", "anchor", "cameras")}
        with user_mistakes():
            write_results(options.json, "score", settings, result_rows(scored))
        say(f"written to {options.json}")


def result_rows(scored: dict[str, dict]) -> list[dict]:
    """Rows of a results file from measurements of one clip, by row and metric."""
    from video4spatial.evaluation.results import metric

    return [
        {
            "name": name,
            "metrics": {
                key: metric(m.value, n=1, status=m.status) | ({"reason": m.reason} if m.reason else {})
                for key, m in measurements.items()
            },
        }
        for name, measurements in scored.items()
    ]


def _clip(options):
    """A clip that knows what the options tell, and the generated frames."""
    import numpy as np
    import torch

    from video4spatial.cameras import Cameras, read_cameras
    from video4spatial.clips import Clip, Navigate

    frames = _read(options.generated)
    height, width = frames.shape[1:3]
    reference = _fitted(_read(options.reference), height, width, options.reference)
    if len(reference) != len(frames):
        raise ValueError(
            f"{options.generated} has {len(frames)} frames and {options.reference} {len(reference)}: expected as many."
        )
    context = np.zeros((0, height, width, 3), dtype=np.uint8)
    if options.context is not None:
        context = _fitted(_read(options.context), height, width, options.context)
        if not -len(context) <= options.anchor < len(context):
            raise ValueError(f"--anchor {options.anchor} is outside the {len(context)} frames of {options.context}.")
    if options.cameras is not None:
        cameras = read_cameras(options.cameras)
        if len(cameras) != len(frames):
            raise ValueError(
                f"{options.cameras} holds {len(cameras)} cameras for {len(frames)} frames: expected one per frame."
            )
    else:
        # No metric that is asked for without --cameras looks at them.
        cameras = Cameras.from_fov(torch.eye(4).expand(len(frames), 4, 4))
    clip = Clip(
        name="generated",
        scene=options.reference,
        context_frames=context,
        context_times=np.arange(len(context), dtype=np.float64),
        instruction=Navigate(cameras),
        anchor=options.anchor % max(len(context), 1),
        target_frames=reference,
    )
    return clip, frames


def _read(path: str):
    from video4spatial.media import open_video

    with open_video(path) as video:
        return video.read(range(len(video)))


def _fitted(frames, height: int, width: int, name: str):
    from video4spatial.media import resize_and_crop

    if frames.shape[1:3] == (height, width):
        return frames
    note(f"{name} of {frames.shape[2]}x{frames.shape[1]} is cropped centrally and resized to {width}x{height}.")
    return resize_and_crop(frames, height, width)[0]
