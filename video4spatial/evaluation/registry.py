"""Every metric with what it declares. A new metric is a function in its family's module and an entry here."""

from video4spatial.evaluation import camera, consistency, image
from video4spatial.evaluation.measurement import Metric

CONTEXT = ("target_depth", "context_depth")

_ALL = (
    Metric(
        "psnr", image.measure_psnr, "higher", "dB", 0.0, ("target_frames",),
        "Pixel agreement with the true frames; rewards blur.",
    ),
    Metric(
        "covisible_psnr", image.measure_covisible_psnr, "higher", "dB", 0.0, ("target_frames", *CONTEXT),
        "Pixel agreement where some context frame sees the place, so that it can be known.",
    ),
    Metric(
        "ssim", image.measure_ssim, "higher", "", 0.0, ("target_frames",),
        "Structural similarity with the true frames.",
    ),
    Metric(
        "gradient_correlation", image.measure_gradient_correlation, "higher", "", 0.0, ("target_frames",),
        "Whether edges lie where they belong; blur gains nothing, a flat frame scores 0.",
    ),
    Metric(
        "rotation_error_deg", camera.measure_rotation_error, "lower", "degrees", 180.0, ("estimated_cameras",),
        "Angle between the turn seen in the frames and the commanded one.",
    ),
    Metric(
        "translation_error", camera.measure_translation_error, "lower", "of path", 1.0, ("estimated_cameras",),
        "Distance between seen and commanded positions after one non-negative scale, over the path length.",
    ),
    Metric(
        "translation_error_m", camera.measure_metric_translation_error, "lower", "m", 3.0, ("metric_cameras",),
        "Distance between seen and commanded positions in metres.",
    ),
    Metric(
        "direction_error_deg", camera.measure_direction_error, "lower", "degrees", 180.0, ("estimated_cameras",),
        "Angle between seen and commanded displacement; sees that a camera went backwards.",
    ),
    Metric(
        "depth_reprojection_psnr", consistency.measure_depth_reprojection, "higher", "dB", 0.0, CONTEXT,
        "Agreement with the context's own pixels moved to the commanded view by true depth.",
    ),
    Metric(
        "epipolar_error_px", consistency.measure_epipolar_error, "lower", "px", None, (),
        "Median distance of matched points in consecutive frames from the commanded cameras' epipolar lines.",
    ),
    Metric(
        "epipolar_consistency", consistency.measure_epipolar_consistency, "higher", "", 0.0, (),
        "Share of consecutive frames that obey the commanded cameras' epipolar lines (TSED).",
    ),
    Metric(
        "motion", consistency.measure_motion, "none", "grey levels", None, (),
        "Mean change from frame to frame; consistency of a video that does not move is worth nothing.",
    ),
    Metric(
        "frozen_share", consistency.measure_frozen_share, "lower", "", 1.0, (),
        "Share of frames that repeat the one before.",
    ),
    Metric(
        "flicker", consistency.measure_flicker, "none", "grey levels", None, (),
        "Brightness that comes and goes within three frames; compare with the true video's.",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Metrics by name."""

NAVIGATION_METRICS = (
    "psnr", "covisible_psnr", "ssim", "gradient_correlation", "rotation_error_deg", "translation_error",
)  # fmt: skip
"""The headline figures of navigation."""


def metrics_named(names: tuple[str, ...] | list[str] | None = None) -> list[Metric]:
    """Metrics by their names; all where none are named.

    Raises:
        ValueError: for names that are not registered.
    """
    unknown = [name for name in names or () if name not in METRICS]
    if unknown:
        raise ValueError(f"unknown metric {', '.join(unknown)}: choose from {', '.join(METRICS)}.")
    return [METRICS[name] for name in names] if names is not None else list(METRICS.values())
