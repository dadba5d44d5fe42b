"""Every metric with what it declares. A new metric is a function in its family's module here and an entry in `METRICS`."""

from functools import partial

from video4spatial.evaluation.measurement import Metric, SetMetric
from video4spatial.evaluation.metrics import camera, consistency, grounding, image, plugins, spatial_distance
from video4spatial.geometry.two_views import epipolar_distances, sampson_distances
from video4spatial.grounding.detectors import DETECTORS, Detector
from video4spatial.naming import unknown

CONTEXT = ("target_cameras", "target_depth", "context_depth")
TRUTH = ("target_frames",)
CAMERAS = ("estimated_cameras",)
METRIC_CAMERAS = ("metric_cameras",)

CAMERA_FAULTS = ("camera_noise", "scale_drift", "wrong_turn", "backwards")
STILL = ("frozen", "static")
PICTURE_FAULTS = (
    *CAMERA_FAULTS, *STILL, "scene_swap", "swimming", "hallucinated_target", "copied_context",
)  # fmt: skip
"""What any comparison with the right picture sees. How it takes blur differs, and of an object that moves it sees that it
did, not how far."""


def _lpips(net: str) -> Metric:
    plugin = plugins.LPIPS[net]
    return Metric(
        plugin.name, plugins.unless_lacking(plugin, partial(plugins.measure_lpips, net=net)), "lower", "", 1.0, TRUTH,
        f"Learned perceptual distance from the true frames ({net}).",
        source="Zhang et al., CVPR 2018, by torchmetrics",
        sees=(*PICTURE_FAULTS, "blur"),
    )


def _by_command(plugin: plugins.Plugin, explanation: str, source: str, worst: float | None, sees: tuple[str, ...]) -> Metric:
    measured = plugins.unless_lacking(plugin, lambda sample: plugins.run_command(plugin, [sample]))
    return Metric(plugin.name, measured, "lower", "", worst, (), explanation, source=source, sees=sees)


def _by_detector(detector: Detector) -> tuple[Metric, Metric]:
    terms = f"{detector.model}, {detector.licence}"
    return (
        Metric(
            f"instruction_followed_{detector.name}", partial(grounding.measure_instruction_followed, detector=detector),
            "higher", "", 0.0, CAMERAS,
            f"IF with the object found by its name ({terms}); an invented object counts as well.",
            source="own, after the IF of Video4Spatial", sees=("static",),
        ),
        Metric(
            f"if_at_sd_{detector.name}", partial(grounding.measure_if_at_sd, detector=detector),
            "higher", "", 0.0, CAMERAS,
            f"The same counted only where the video and the found object are of the real scene ({terms}).",
            source="own, after the IF (SD < 0.2) of Video4Spatial", sees=("static", "scene_swap", "hallucinated_target"),
        ),
    )  # fmt: skip


_ALL = (
    # Image: against the true frames.
    Metric(
        "psnr", image.measure_psnr, "higher", "dB", 0.0, TRUTH,
        "Pixel agreement with the true frames; rewards blur.",
        source="10 log10(255² / MSE), at most 100 dB",
        sees=PICTURE_FAULTS,
    ),
    Metric(
        "covisible_psnr", image.measure_covisible_psnr, "higher", "dB", 0.0, (*TRUTH, *CONTEXT),
        "Pixel agreement where some context frame sees the place, so that it can be known.",
        source="own: PSNR over co-visible pixels by depth reprojection",
        sees=PICTURE_FAULTS,
    ),
    Metric(
        "revisit_psnr", image.measure_revisit_psnr, "higher", "dB", 0.0, CONTEXT,
        "Pixel agreement with the nearest context frame itself where the target returns to a place it has seen.",
        source="history comparison after Context as Memory, Yu et al. 2025; moved by true depth",
        sees=PICTURE_FAULTS,
    ),
    Metric(
        "ssim", image.measure_ssim, "higher", "", 0.0, TRUTH,
        "Structural similarity with the true frames.",
        source="Wang et al., TIP 2004; 11x11 Gaussian, sigma 1.5",
        sees=(*PICTURE_FAULTS, "blur"),
    ),
    Metric(
        "ms_ssim", image.measure_ms_ssim, "higher", "", 0.0, TRUTH,
        "Structural similarity over five scales; needs pictures of 176 pixels.",
        source="Wang et al., Asilomar 2003, by torchmetrics",
        sees=(*PICTURE_FAULTS, "blur"),
    ),
    Metric(
        "gradient_correlation", image.measure_gradient_correlation, "higher", "", 0.0, TRUTH,
        "Whether edges lie where they belong; blur gains nothing, a flat frame scores 0.",
        source="own: Pearson correlation of smoothed image gradients",
        sees=(*PICTURE_FAULTS, "blur"),
    ),
    _lpips("alex"),
    _lpips("vgg"),
    # Camera control: of the cameras seen in the frames. They see what moves the camera, and nothing that the estimator
    # looks through; what it cannot make anything of lowers the share instead.
    Metric(
        "rotation_error_deg", camera.measure_rotation_error, "lower", "degrees", 180.0, CAMERAS,
        "Angle between the turn seen in the frames and the commanded one.",
        source="RotErr, He et al. 2024 (CameraCtrl), eq. 4; mean over frames, in degrees",
        sees=("camera_noise", "wrong_turn", *STILL),
    ),
    Metric(
        "rotation_error_median_deg", camera.measure_median_rotation_error, "lower", "degrees", 180.0, CAMERAS,
        "The same angle, median over frames: single lost frames do not spoil it.",
        source="RotErr, He et al. 2024 (CameraCtrl), eq. 4; median over frames",
        sees=("camera_noise", "wrong_turn"),
    ),
    Metric(
        "rotation_error_final_deg", camera.measure_final_rotation_error, "lower", "degrees", 180.0, CAMERAS,
        "The same angle in the last frame, where drift has added up.",
        source="RotErr, He et al. 2024 (CameraCtrl), eq. 4; last frame",
        sees=("camera_noise", "wrong_turn", "frozen"),
    ),
    Metric(
        "translation_error", camera.measure_translation_error, "lower", "of path", 1.0, CAMERAS,
        "Distance between seen and commanded positions after one non-negative scale, over the path length.",
        source="own: TransErr anchored at frame 0, scale by least squares but never negative",
        sees=("camera_noise", "scale_drift", "backwards", *STILL),
    ),
    Metric(
        "translation_error_m", camera.measure_metric_translation_error, "lower", "m", 3.0, METRIC_CAMERAS,
        "Distance between seen and commanded positions in metres.",
        source="own: TransErr anchored at frame 0, no scale",
        sees=("camera_noise", "scale_drift", "backwards", *STILL),
    ),
    Metric(
        "direction_error_deg", camera.measure_direction_error, "lower", "degrees", 180.0, CAMERAS,
        "Angle between seen and commanded displacement; sees that a camera went backwards.",
        source="own: angle between displacements since frame 0",
        sees=("camera_noise", "backwards"),
    ),
    *(
        Metric(
            f"pose_auc_{threshold}", partial(camera.measure_pose_auc, threshold=float(threshold)), "higher", "", 0.0, CAMERAS,
            f"Share of pairs of frames posed rightly, rotation and direction, over all bounds up to {threshold} degrees.",
            source="AUC of Wang et al. 2023 (PoseDiffusion) and VGGT; exact area, and opposite directions count as wrong",
            sees=("camera_noise", "wrong_turn", *STILL, *(["backwards"] if threshold > 5 else [])),
        )
        for threshold in (5, 15, 30)
    ),
    Metric(
        "relative_rotation_error_deg", camera.measure_relative_rotation_error, "lower", "degrees", 180.0, CAMERAS,
        "Rotation error of single steps: jitter rather than drift.",
        source="RPE, Sturm et al., IROS 2012; delta 1, mean",
        sees=("camera_noise", "wrong_turn", "frozen"),
    ),
    Metric(
        "relative_translation_error", camera.measure_relative_translation_error, "lower", "of a step", 1.0, CAMERAS,
        "Translation error of single steps after one non-negative scale, over the mean commanded step.",
        source="RPE, Sturm et al., IROS 2012; delta 1, mean",
        sees=("camera_noise", "scale_drift"),
    ),
    # Camera control as others print it: for comparison only.
    Metric(
        "cameractrl_rotation_error", partial(camera.measure_summed, part="rotation", self_normalised=False),
        "lower", "radians", None, CAMERAS,
        "Rotation errors added up over the frames: grows with the length of the video.",
        source="RotErr, He et al. 2024 (CameraCtrl), eq. 4; also CamI2V, `calc_roterr`",
        sees=("camera_noise", "wrong_turn", *STILL),
    ),
    Metric(
        "cameractrl_translation_error", partial(camera.measure_summed, part="translation", self_normalised=False),
        "lower", "m", None, METRIC_CAMERAS,
        "Translation errors added up over the frames, without any scale.",
        source="TransErr, He et al. 2024 (CameraCtrl), eq. 5; its scale is ambiguous there, metres here",
        sees=("camera_noise", "scale_drift", "backwards", *STILL),
    ),
    Metric(
        "cami2v_translation_error", partial(camera.measure_summed, part="translation", self_normalised=True),
        "lower", "", None, CAMERAS,
        "Translation errors added up, each path divided by its own extent: a wrong scale is not seen.",
        source="TransErr_rel, Zheng et al. 2024 (CamI2V), glomap_evaluation.py",
        sees=("camera_noise", "scale_drift"),
    ),
    Metric(
        "cami2v_camera_motion", partial(camera.measure_summed, part="camera_motion", self_normalised=True),
        "lower", "", None, CAMERAS,
        "Differences of [R | t] added up, each path divided by its own extent.",
        source="CamMC_rel, Zheng et al. 2024 (CamI2V), glomap_evaluation.py",
        sees=("camera_noise", "scale_drift", "wrong_turn"),
    ),
    Metric(
        "camera_motion", partial(camera.measure_summed, part="camera_motion", self_normalised=False),
        "lower", "", None, METRIC_CAMERAS,
        "Differences of [R | t] added up over the frames; mixes radians and metres.",
        source="CamMC, Wang et al. 2024 (MotionCtrl); summed as in CamI2V",
        sees=(*CAMERA_FAULTS, *STILL),
    ),
    Metric(
        "similarity_error", camera.measure_similarity_error, "lower", "of path", 1.0, CAMERAS,
        "Distance of positions after the best similarity transform; blind to backwards and wrong turns, so auxiliary only.",
        source="ATE with Sim(3) alignment, Umeyama, PAMI 1991",
        sees=("camera_noise", "scale_drift"),
    ),
    # Geometric consistency.
    Metric(
        "depth_reprojection_psnr", consistency.measure_depth_reprojection, "higher", "dB", 0.0, CONTEXT,
        "Agreement with the context's own pixels moved to the commanded view by true depth.",
        source="own: photometric error after depth reprojection",
        sees=PICTURE_FAULTS,
    ),
    Metric(
        "epipolar_error_px", partial(consistency.measure_epipolar_error, distances=epipolar_distances),
        "lower", "px", None, ("target_cameras",),
        "Median distance of matched points in consecutive frames from the commanded cameras' epipolar lines; unsteady where few match.",
        source="SED of Yu et al., ICCV 2023, eq. 3",
        sees=("camera_noise", "wrong_turn", "frozen", "swimming"),
    ),
    Metric(
        "sampson_error_px", partial(consistency.measure_epipolar_error, distances=sampson_distances),
        "lower", "px", None, ("target_cameras",),
        "Median first-order distance of matched points in consecutive frames from the commanded epipolar geometry.",
        source="Hartley and Zisserman 2004, 11.4.3, by kornia",
        sees=("camera_noise", "wrong_turn", "frozen", "swimming"),
    ),
    Metric(
        "epipolar_consistency", consistency.measure_epipolar_consistency, "higher", "", 0.0, ("target_cameras",),
        "Share of consecutive frames that obey the commanded cameras' epipolar lines (TSED); blurred and still videos pass too.",
        source="TSED, Yu et al., ICCV 2023; T_e 2 px at 256 px, scaled, T_m 10",
        sees=("camera_noise", "swimming"),
    ),
    Metric(
        "rigidity", partial(consistency.measure_rigidity, figure=0), "higher", "", 0.0, (),
        "Share of matches in consecutive frames that agree with one rigid scene, whatever the camera.",
        source="own: inliers of a fundamental matrix by MAGSAC, Barath et al., CVPR 2020",
        sees=(*STILL, "swimming"),
    ),
    Metric(
        "rigidity_error_px", partial(consistency.measure_rigidity, figure=1), "lower", "px", None, (),
        "Median distance of matches from the fundamental matrix that fits them best.",
        source="own: Sampson distance from a fundamental matrix by MAGSAC, Barath et al., CVPR 2020",
        sees=("swimming",),
    ),
    Metric(
        "registered_share", consistency.measure_registered_share, "higher", "", 0.0, ("target_cameras",),
        "Share of frames that structure from motion can put into one scene with the anchor.",
        source="Xu et al. 2024 (CamCo), COLMAP success; by pycolmap",
        sees=("scene_swap",),
    ),
    _by_command(
        plugins.MET3R, "Disagreement of learned features of consecutive frames after a learned warp.",
        "Asim et al., CVPR 2025 (MEt3R)", 2.0, ("swimming", "scene_swap"),
    ),
    _by_command(
        plugins.WORLDSCORE_3D, "Reprojection error of DROID-SLAM within the generated frames.",
        "Duan et al. 2025 (WorldScore), 3D consistency", None, ("swimming", "scene_swap"),
    ),
    Metric(
        "motion", consistency.measure_motion, "none", "grey levels", None, (),
        "Mean change from frame to frame; consistency of a video that does not move is worth nothing.",
        source="own: mean absolute difference",
    ),
    Metric(
        "frozen_share", consistency.measure_frozen_share, "lower", "", 1.0, (),
        "Share of frames that repeat the one before.",
        source="own: mean absolute difference below half a grey level",
        sees=STILL,
    ),
    Metric(
        "flicker", consistency.measure_flicker, "none", "grey levels", None, (),
        "Brightness that comes and goes within three frames; compare with the true video's.",
        source="own: mean absolute second difference",
    ),
    # Spatial distance: whether what is shown lies where the context's scene does.
    Metric(
        "spatial_distance_v1", spatial_distance.measure_spatial_distance, "lower", "of the radius", spatial_distance.WORST, CAMERAS,
        "Distance, in place and colour, of what the generated frames show from the context's scene; from their pixels by stereo.",
        source="own, not comparable with the SD of Video4Spatial: plane sweep, nearest point of the context",
        sees=("scene_swap", "object_moved", "hallucinated_target"),
    ),
    # Grounding: whether the object asked for is found.
    Metric(
        "visible_at_end", partial(grounding.measure_at_end, rule="visible"), "higher", "", 0.0, CAMERAS,
        "Whether the object is seen in one of the last frames.",
        source="own: true box at the measured camera, hidden by points of the context, colours compared", sees=("static",),
    ),
    Metric(
        "centred_at_end", partial(grounding.measure_at_end, rule="centred"), "higher", "", 0.0, CAMERAS,
        "Whether it is seen near the middle of one of the last frames.", source="own", sees=("static",),
    ),
    Metric(
        "right_size_at_end", partial(grounding.measure_at_end, rule="right_size"), "higher", "", 0.0, CAMERAS,
        "Whether it is seen neither tiny nor filling one of the last frames.", source="own", sees=("static",),
    ),
    Metric(
        "box_iou", grounding.measure_box_iou, "higher", "", 0.0, CAMERAS,
        "Overlap of where it is seen in the last frames with where it should be seen.", source="own",
        sees=("camera_noise", "static"),
    ),
    Metric(
        "box_persistence", grounding.measure_box_persistence, "higher", "", 0.0, CAMERAS,
        "Share of the last frames in which it is seen.", source="own", sees=("static",),
    ),
    Metric(
        "continuity", grounding.measure_continuity, "higher", "", 0.0, CAMERAS,
        "Whether the path begins at the anchor and does not jump.", source="own",
    ),
    Metric(
        "path_efficiency", grounding.measure_path_efficiency, "higher", "", 0.0, CAMERAS,
        "Shortest way to where the camera ends over the way it took; says nothing about where that is.",
        source="own, after SPL, Anderson et al. 2018, without the success",
    ),
    Metric(
        "collisions", grounding.measure_collisions, "lower", "", 1.0, CAMERAS,
        "Share of the frames whose camera stands in a wall or in furniture.", source="own",
    ),
    Metric(
        "answer_box_iou", grounding.measure_answer_box, "higher", "", 0.0, (),
        "Overlap, on the last frame of the way, of where the object is taken to be with where it is.", source="own",
    ),
    Metric(
        "instruction_followed", grounding.measure_instruction_followed, "higher", "", 0.0, CAMERAS,
        "IF: the object is seen near the middle at a sensible size in one of the last frames, reached without a jump.",
        source="own, after the IF of Video4Spatial", sees=("static",),
    ),
    Metric(
        "if_at_sd", grounding.measure_if_at_sd, "higher", "", 0.0, CAMERAS,
        "IF counted only where the spatial distance, of the video and of the object's place, is below 0.2.",
        source="own, after the IF (SD < 0.2) of Video4Spatial", sees=("static", "scene_swap", "hallucinated_target"),
    ),
    *(metric for detector in DETECTORS.values() for metric in _by_detector(detector)),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Metrics by name."""

SET_METRICS: dict[str, SetMetric] = {
    metric.name: metric
    for metric in (
        SetMetric(
            "fid", plugins.unless_lacking(plugins.FID, plugins.measure_fid), "lower", "", None, TRUTH,
            "Distance between the distributions of generated and true frames; needs thousands of them.",
            source="Heusel et al., NeurIPS 2017, by torchmetrics",
            sees=("scene_swap", "blur"),
        ),
        SetMetric(
            "kid", plugins.unless_lacking(plugins.KID, plugins.measure_kid), "lower", "", None, TRUTH,
            "The same without bias from the number of frames.",
            source="Bińkowski et al., ICLR 2018, by torchmetrics",
            sees=("scene_swap", "blur"),
        ),
        SetMetric(
            "fvd", plugins.unless_lacking(plugins.FVD, plugins.measure_fvd), "lower", "", None, TRUTH,
            "Distance between the distributions of generated and true videos; needs thousands of them.",
            source="Ge et al., CVPR 2024 (cd-fvd), by the user's command",
            sees=("scene_swap", "blur", "frozen", "static"),
        ),
    )
}
"""Metrics of all clips of a row together, by name."""

NAVIGATION_METRICS = (
    "gradient_correlation", "rotation_error_deg", "translation_error_m", "depth_reprojection_psnr",
    "covisible_psnr", "psnr", "ssim", "translation_error",
)  # fmt: skip
"""The figures of navigation: first those that head the scorecard by `benchmarks/metric_validation.py`, then what others quote."""

GROUNDING_METRICS = (
    "instruction_followed", "if_at_sd", "spatial_distance_v1", "box_iou", "box_persistence", "continuity", "path_efficiency", "collisions",
)  # fmt: skip
"""The headline figures of grounding."""


def metrics_named(names: tuple[str, ...] | list[str] | None = None) -> list[Metric]:
    """Metrics by their names; all where none are named.

    Raises:
        ValueError: for names that are not registered.
    """
    problems = [unknown("metric", name, METRICS) for name in names or () if name not in METRICS]
    if problems:
        raise ValueError("; ".join(problems) + ".")
    return [METRICS[name] for name in names] if names is not None else list(METRICS.values())
