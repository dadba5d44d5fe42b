"""Grounding: whether the video finds the object it was asked for and ends on a view of it, in the real scene.

Without weights, the object is found where it stands. Its true box is projected through the cameras measured from the frames,
points of the context before it hide it, and the pixels there must look like the context's points of it: a video that goes to the
right place without showing the object has not found it. Detectors (`grounding.detectors`) find the object by its name instead, even where
a video has invented it; the gate on spatial distance is there to notice that.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation

from video4spatial.cameras import Cameras
from video4spatial.captures import SceneObject
from video4spatial.clips import Ground
from video4spatial.evaluation.measurement import Measurement, Sample
from video4spatial.evaluation.metrics.spatial_distance import PointCloud, SpatialDistanceSettings, context_points, spatial_distances
from video4spatial.geometry.grid_routes import along, routes_from, traced
from video4spatial.geometry.visibility import nearest_points
from video4spatial.grounding.boxes import box_ious, projected_boxes
from video4spatial.grounding.detectors import Detector
from video4spatial.media.transforms import resize_and_crop
from video4spatial.simulation.scenes import generate_scene


@dataclass(frozen=True)
class GroundingSettings:
    """What counts as found. Areas are shares of the picture, offsets shares of its width and height.

    Args:
        last_frames: frames at the end in one of which the object must be found.
        offset: largest distance of the box's middle from the picture's, on either axis.
        area: least and largest area of the box.
        visible: least share of the object, as far as the context shows it, that nothing hides.
        colour: root mean square difference of red, green and blue (0 to 1) up to which a pixel shows the object's colour.
        likeness: least likeness of what is shown to the object: the share of its pixels that show its colour, times the correlation
            of the colours of it and its surroundings with the context's.
        border: pixels of 32 rows of surroundings that the correlation looks at.
        first_step: degrees and metres between the anchor and frame 1.
        step_factor: no step may be larger than so many times the largest that was asked for.
        noise: degrees and metres that a step may always have, because measured cameras are not exact.
        least_motion: metres + degrees / 45 below which a video has not moved at all.
        gate: spatial distance from which what is shown is not the real scene any more.
    """

    last_frames: int = 5
    offset: float = 0.25
    area: tuple[float, float] = (0.01, 0.6)
    visible: float = 0.3
    colour: float = 0.12
    likeness: float = 0.5
    border: int = 2
    first_step: tuple[float, float] = (15.0, 0.3)
    step_factor: float = 2.0
    noise: tuple[float, float] = (5.0, 0.05)
    least_motion: float = 0.1
    gate: float = 0.2


SETTINGS = GroundingSettings()


@dataclass(frozen=True)
class Found:
    """Where the object is in the last frames of a video.

    Args:
        frames: [K] which frames; those whose camera is not known are left out.
        boxes: [K, 4] left, top, right and bottom as shares; NaN where it is not in the picture.
        expected: [K, 4] the boxes it should have.
        visible: [K] whether it is seen.
        unhidden: [K] share of it that nothing hides; NaN where the context does not say.
        likeness: [K] of what is shown there to the object; NaN likewise.
    """

    frames: np.ndarray
    boxes: np.ndarray
    expected: np.ndarray
    visible: np.ndarray
    unhidden: np.ndarray
    likeness: np.ndarray

    @property
    def centred(self) -> np.ndarray:
        """[K] whether it is seen near the middle."""
        middle = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        return self.visible & (np.abs(middle - 0.5) <= SETTINGS.offset).all(axis=1)

    @property
    def right_size(self) -> np.ndarray:
        """[K] whether it is seen neither tiny nor filling the picture."""
        area = (self.boxes[:, 2:] - self.boxes[:, :2]).prod(axis=1)
        return self.visible & (area >= SETTINGS.area[0]) & (area <= SETTINGS.area[1])

    def diagnostics(self) -> dict:
        """Figures per frame for the report."""
        rounded = {"unhidden": self.unhidden, "likeness": self.likeness}
        return {"frames": self.frames.tolist()} | {
            name: [None if np.isnan(value) else round(float(value), 3) for value in values] for name, values in rounded.items()
        }


def points_of(item: SceneObject, cloud: PointCloud) -> np.ndarray:
    """Which points of a cloud belong to an object.

    Args:
        item: in the world of the points.
        cloud: P points.

    Returns:
        [P] bool.
    """
    x, y, z = (cloud.points - np.array(item.center)).T
    cosine, sine = np.cos(item.yaw), np.sin(item.yaw)
    half = np.array(item.size) / 2
    margin = 0.02 * float(np.linalg.norm(item.size))
    within = (np.abs(x * cosine + y * sine) <= half[0] + margin) & (np.abs(y * cosine - x * sine) <= half[1] + margin)
    # The bottom is raised rather than lowered: what the object stands on is not the object.
    return within & (z <= half[2] + margin) & (z >= -half[2] + min(margin, half[2] / 2))


def find(sample: Sample, detector: Detector | None = None) -> Found | Measurement:
    """Where the object is in the last frames, or the measurement that says why that is not known.

    Args:
        sample: of a clip with something to find.
        detector: finds it by its name; by default it is found where it stands.
    """
    clip = sample.clip
    if not isinstance(clip.instruction, Ground):
        return Measurement(None, "not_applicable", "there is nothing to find")
    count = len(sample.frames)
    last = np.arange(max(1, count - SETTINGS.last_frames), count)
    if float(sample.frames[last].std((1, 2)).max()) < 1.0:
        return Measurement.missing("the last frames are blank")
    expected = np.full((count, 4), np.nan)
    if clip.target_object is not None and clip.target_cameras is not None:
        expected = projected_boxes(clip.target_object, clip.target_cameras)
    elif clip.target_boxes is not None:
        expected = clip.target_boxes.astype(np.float64)
    if detector is not None:
        label = clip.target_object.label if clip.target_object is not None else clip.provenance.get("label")
        if not label:
            return Measurement(None, "not_applicable", "the name of the object is not known")
        lacking = detector.lacking()
        if lacking:
            return Measurement.missing(lacking)
        boxes = detector.boxes(sample.frames[last], label)
        unknown = np.full(len(last), np.nan)
        return Found(last, boxes, expected[last], np.isfinite(boxes).all(axis=1), unknown, unknown)

    if clip.target_object is None:
        return Measurement(None, "not_applicable", "needs the box of the object in the world (target_object)")
    if sample.estimate is None:
        return Measurement(None, "not_applicable", "needs estimated_cameras")
    last = last[sample.estimate.position_known[last]]
    if not len(last):
        return Measurement.missing(sample.estimate.reason or "no camera of the last frames is known")
    cameras = sample.estimated_cameras[last]
    boxes = projected_boxes(clip.target_object, cameras)
    visible = np.isfinite(boxes).all(axis=1)
    unhidden, likeness = np.full((2, len(last)), np.nan)
    cloud = None
    if clip.context_cameras is not None and clip.context_depth is not None:
        # Points of stereo are too rough to say what hides what, so only known depth is asked.
        cloud = context_points(clip, SpatialDistanceSettings())
    if isinstance(cloud, PointCloud):
        unhidden, likeness = _appearance(sample.frames[last], cameras, cloud, points_of(clip.target_object, cloud))
        # Where the context never saw it, nothing speaks against it.
        visible &= ~(unhidden < SETTINGS.visible) & ~(likeness < SETTINGS.likeness)
    return Found(last, boxes, expected[last], visible, unhidden, likeness)


def _appearance(frames: np.ndarray, cameras: Cameras, cloud: PointCloud, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each frame shows of an object.

    Args:
        frames: [K, H, W, 3] uint8.
        cameras: K cameras.
        cloud: points of the context.
        own: [P] which of them are the object's.

    Returns:
        [K] the share of the object that nothing hides, and [K] the likeness to it of what is shown there; NaN where it has no
        points.
    """
    # Half the size that the points were taken at, so that they leave no holes.
    side = min(SpatialDistanceSettings.height, frames.shape[1])
    height, width = side // 2, max(1, round(frames.shape[2] / frames.shape[1] * side / 2))
    pictures = resize_and_crop(frames, height, width)[0] / 255
    index = nearest_points(cloud.points, cameras, height, width)[0]
    alone = nearest_points(cloud.points[own], cameras, height, width)[0] >= 0
    unhidden, likeness = np.full((2, len(frames)), np.nan)
    for frame in range(len(frames)):
        seen = (index[frame] >= 0) & own[index[frame]]
        if alone[frame].any():
            unhidden[frame] = seen.sum() / alone[frame].sum()
        if seen.any():
            difference = pictures[frame][seen] - cloud.colours[index[frame][seen]]
            alike = (np.sqrt((difference**2).mean(-1)) <= SETTINGS.colour).mean()
            around = binary_dilation(seen, iterations=SETTINGS.border) & (index[frame] >= 0)
            values = [colours - colours.mean(0) for colours in (pictures[frame][around], cloud.colours[index[frame][around]])]
            energy = np.sqrt((values[0] ** 2).sum() * (values[1] ** 2).sum())
            likeness[frame] = alike * max(0.0, float((values[0] * values[1]).sum() / max(energy, 1e-9)))
    return unhidden, likeness


def continuity_problem(sample: Sample) -> str | None:
    """Why the estimated path is not one that a camera walked from the anchor, or None.

    Frames without a camera are passed over, and a step across n of them may be n + 1 times as large. Lengths are compared only
    where estimated and commanded cameras have the same unit.
    """
    estimated, asked = sample.estimated_cameras, sample.clip.target_cameras
    known = np.flatnonzero(sample.estimate.position_known)
    degrees, metres = _steps(estimated[known])
    most_degrees, most_metres = (float(values.max()) for values in _steps(asked))
    gaps = np.diff(known)
    limits = [SETTINGS.step_factor * most + noise for most, noise in zip((most_degrees, most_metres), SETTINGS.noise)]
    measured = [("degrees", degrees, 0)]
    if estimated.metric == asked.metric:
        measured.append(("m", metres, 1))
    for unit, steps, kind in measured:
        if len(steps) and steps[0] > SETTINGS.first_step[kind] * gaps[0]:
            return f"the first step of {steps[0]:.2f} {unit} does not start at the anchor"
        if (steps > limits[kind] * gaps).any():
            return f"a step of {float((steps / gaps).max()):.2f} {unit} is a jump, at most {limits[kind]:.2f} are allowed"
    return None


def motion_problem(sample: Sample) -> str | None:
    """Why the video counts as standing still, or None."""
    cameras = sample.estimate.placed
    moved = cameras.distance_to(cameras[0]) + cameras.rotation_to(cameras[0]) / 45
    return "the camera of the generated frames does not move" if float(moved.max()) < SETTINGS.least_motion else None


def _steps(cameras: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """Degrees and lengths of the steps from camera to camera."""
    if len(cameras) < 2:
        return np.zeros(0), np.zeros(0)
    first, second = cameras[:-1], cameras[1:]
    return first.rotation_to(second).numpy(), first.distance_to(second).numpy()


def _found(sample: Sample, detector: Detector | None) -> Found | Measurement:
    return sample.once(find) if detector is None else find(sample, detector)


def measure_at_end(sample: Sample, rule: str) -> Measurement:
    """1 where one of the last frames shows the object as a rule wants it.

    Args:
        sample: of a clip with something to find.
        rule: `visible`, `centred` or `right_size`, as in `Found`.
    """
    found = sample.once(find)
    if isinstance(found, Measurement):
        return found
    return Measurement(float(getattr(found, rule).any()), diagnostics=found.diagnostics())


def measure_box_persistence(sample: Sample) -> Measurement:
    """Share of the last frames in which the object is seen."""
    found = sample.once(find)
    return found if isinstance(found, Measurement) else Measurement(float(found.visible.mean()), diagnostics=found.diagnostics())


def measure_box_iou(sample: Sample) -> Measurement:
    """Mean overlap, over the last frames, of where the object is seen with where it should be seen; unseen counts 0."""
    found = sample.once(find)
    if isinstance(found, Measurement):
        return found
    values = np.where(found.visible, box_ious(found.boxes, found.expected), 0.0)
    values = np.where(np.isfinite(found.expected).all(axis=1), values, np.nan)
    if np.isnan(values).all():
        return Measurement(None, "not_applicable", "it is not known where the object should be in the last frames")
    return Measurement(float(np.nanmean(values)), diagnostics=found.diagnostics())


def measure_continuity(sample: Sample) -> Measurement:
    """1 where the path begins at the anchor and does not jump."""
    if not isinstance(sample.clip.instruction, Ground):
        return Measurement(None, "not_applicable", "there is nothing to find")
    if not sample.estimate.position_known[1:].any():
        return Measurement.missing(sample.estimate.reason or "no camera is known")
    problem = continuity_problem(sample)
    return Measurement(float(problem is None), diagnostics={"problem": problem} if problem else None)


def measure_path_efficiency(sample: Sample) -> Measurement:
    """The shortest way from the anchor to where the video's camera ends, over the way it took.

    In simulated scenes the shortest way leads around furniture; elsewhere it is the straight line.
    """
    if not isinstance(sample.clip.instruction, Ground):
        return Measurement(None, "not_applicable", "there is nothing to find")
    cameras = sample.estimate.placed
    if len(cameras) < 2:
        return Measurement.missing(sample.estimate.reason or "no camera is known")
    walked = float(cameras.path_length())
    if walked < SETTINGS.noise[1]:
        return Measurement.missing("the camera of the generated frames does not move")
    start, end = cameras.positions[0].numpy(), cameras.positions[-1].numpy()
    shortest, method = float(np.linalg.norm(end - start)), "straight"
    provenance = sample.clip.provenance
    if provenance.get("source") == "simulation" and cameras.metric:
        around = _way_around(provenance["scene_seed"], start, end)
        if around is not None:
            shortest, method = max(shortest, around), "geodesic"
    diagnostics = {"walked": round(walked, 3), "shortest": round(shortest, 3), "way": method}
    return Measurement(min(1.0, shortest / walked), diagnostics=diagnostics)


def _way_around(scene_seed: int, start: np.ndarray, end: np.ndarray) -> float | None:
    """Length of the shortest way on the scene's grid, or None where the straight line is free (or no way is known)."""
    free_space = generate_scene(scene_seed).free_space
    line = start + np.linspace(0, 1, 50)[:, None] * (end - start)
    if float(free_space.clearance(line).min()) > 0:
        return None
    points, graph = free_space.grid(0.1)
    if not len(points):
        return None
    first, last = (int(np.linalg.norm(points - place[:2], axis=1).argmin()) for place in (start, end))
    length, previous = routes_from(graph, first)
    if not np.isfinite(length[last]):
        return None
    return float(along(points[traced(previous, last, first)])[-1])  # the graph's own lengths are more than metres near obstacles


def measure_collisions(sample: Sample) -> Measurement:
    """Share of the frames whose camera stands in a wall or in furniture, as a person would; in simulated scenes alone."""
    if not isinstance(sample.clip.instruction, Ground):
        return Measurement(None, "not_applicable", "there is nothing to find")
    provenance = sample.clip.provenance
    if provenance.get("source") != "simulation" or not sample.estimated_cameras.metric:
        return Measurement(None, "not_applicable", "where walls and furniture are is not known")
    known = sample.estimate.position_known[1:]
    if not known.any():
        return Measurement.missing(sample.estimate.reason or "no camera is known")
    clearance = generate_scene(provenance["scene_seed"]).free_space.clearance(sample.estimated_cameras.positions.numpy()[1:])
    values = np.where(known, (clearance < -SETTINGS.noise[1]).astype(float), np.nan)
    return Measurement.over_frames(values, "no camera is known", expected=np.ones(len(values), bool))


def measure_answer_box(sample: Sample) -> Measurement:
    """Without a value: only what looked for the object can say where it takes it to be (`grounding_benchmark`)."""
    return Measurement(None, "not_applicable", "the video comes without an answer's box")


def measure_instruction_followed(sample: Sample, detector: Detector | None = None) -> Measurement:
    """IF: 1 where one of the last frames shows the object near the middle at a sensible size, reached by a path without jumps.

    Args:
        sample: of a clip with something to find.
        detector: as in `find`.
    """
    if sample.estimate is None or sample.clip.target_cameras is None:
        return Measurement(None, "not_applicable", "needs estimated_cameras, for the continuity of the path")
    found = _found(sample, detector)
    if isinstance(found, Measurement):
        return found
    problem = motion_problem(sample) or continuity_problem(sample)
    if problem is None and not (found.centred & found.right_size).any():
        size = "is too small or too large"
        rules = {"is not seen": found.visible, "is not near the middle": found.centred, size: found.right_size}
        problem = next((f"the object {what} in any of the last frames" for what, met in rules.items() if not met.any()), None)
        problem = problem or "no frame of the last shows the object both near the middle and at a sensible size"
    diagnostics = found.diagnostics() | ({"problem": problem} if problem else {})
    return Measurement(float(problem is None), diagnostics=diagnostics)


def measure_if_at_sd(sample: Sample, detector: Detector | None = None) -> Measurement:
    """IF@SD: IF counted only where the video shows the real scene.

    The spatial distance must be below 0.2 over the whole video, and also over the points in the found box of the last frames: an
    invented object is only a small part of a video. A spatial distance that could not be measured counts as failed.

    Args:
        sample: of a clip with something to find.
        detector: as in `find`.
    """
    followed = measure_instruction_followed(sample, detector)
    if followed.status != "ok":
        return followed
    result = sample.once(spatial_distances)
    diagnostics = dict(followed.diagnostics)
    if isinstance(result, Measurement):
        return Measurement(0.0, diagnostics=diagnostics | {"problem": f"no spatial distance: {result.reason}"})
    found = _found(sample, detector)
    boxes = np.full((len(sample.frames), 4), np.nan)
    boxes[found.frames] = found.boxes
    inside = result.within(boxes)
    distances = {"whole": float(result.distances.mean())}
    if inside.any():
        distances["object"] = float(result.distances[inside].mean())
    diagnostics |= {f"spatial_distance_{name}": round(value, 4) for name, value in distances.items()}
    far = [name for name, value in distances.items() if value >= SETTINGS.gate]
    if followed.value and far:
        diagnostics["problem"] = f"spatial distance of the {' and the '.join(far)} is not below {SETTINGS.gate}"
    return Measurement(float(bool(followed.value) and not far), diagnostics=diagnostics)
