"""What a metric is given (`Sample`), what it returns (`Measurement`) and what it declares (`Metric`)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.clips import Clip
from video4spatial.evaluation.results import STATUSES
from video4spatial.geometry.estimated_cameras import EstimatedCameras


VALUES_AT_ONCE = 2**22
"""Of pictures that are measured together: in floating point, with what is made of them, some hundreds of megabytes."""


def by_parts(measure: Callable[..., np.ndarray], *videos: np.ndarray, neighbours: int = 0) -> np.ndarray:
    """Measure frames a few at a time, so that a long video never is in memory in floating point.

    Args:
        measure: takes stretches of the videos and returns a figure for each frame that has its neighbours.
        *videos: [T, H, W, 3] uint8 and the like, of as many frames.
        neighbours: following frames that the figure of a frame needs.

    Returns:
        [T - neighbours] figures.
    """
    count = len(videos[0]) - neighbours
    at_once = max(1, VALUES_AT_ONCE // max(1, videos[0][:1].size))
    starts = range(0, max(count, 1), at_once)
    return np.concatenate([measure(*(video[start : min(start + at_once, count) + neighbours] for video in videos)) for start in starts])


@dataclass(frozen=True)
class Measurement:
    """The outcome of one metric on one clip.

    Args:
        value: the figure, or None when the status is not `ok`.
        status: `ok`; `missing` (could have been measured, but the data does not allow it: no texture, no match),
            `failed` (the generated video broke the measurement) or `not_applicable` (the clip lacks what the metric
            needs).
        reason: why there is no value.
        per_frame: one entry per frame 1..T-1 (None where a frame gave nothing), or None for metrics without a curve.
        diagnostics: further figures that explain the value.
        share: part, 0 to 1, of what should have been measured that the value rests on; the rest counts as worst in penalised means
            and lowers coverage.

    Raises:
        ValueError: for an unknown status, a value that is not finite, a missing value without a reason, or a share
            outside 0 to 1.
    """

    value: float | None
    status: str = "ok"
    reason: str = ""
    per_frame: tuple[float | None, ...] | None = None
    diagnostics: dict | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share {self.share}: expected 0 to 1.")
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r}: expected one of {', '.join(STATUSES)}.")
        if self.status == "ok" and (self.value is None or not math.isfinite(self.value)):
            raise ValueError(f"a measurement with status 'ok' needs a finite value, got {self.value!r}.")
        if self.status != "ok" and (self.value is not None or not self.reason):
            raise ValueError(f"a measurement with status {self.status!r} needs a reason and no value.")

    @classmethod
    def missing(cls, reason: str, **fields) -> "Measurement":
        """A measurement that the data does not allow.

        Args:
            reason: why there is no value.
            fields: of the measurement, beside value, status and reason.
        """
        return cls(None, "missing", reason, **fields)

    @classmethod
    def over_frames(
        cls, values: np.ndarray, reason: str, diagnostics: dict | None = None, expected: np.ndarray | None = None
    ) -> "Measurement":
        """The mean over frames.

        Args:
            values: [T - 1] one figure per scored frame, NaN where a frame gave nothing.
            reason: why there is nothing, should no frame have given anything.
            diagnostics: further figures.
            expected: [T - 1] bool frames that should have given something; each that did not lowers the share. By default only
                the frames that gave something were expected to.

        Returns:
            `ok`, or `missing` where no frame gave anything.
        """
        values = np.asarray(values, dtype=np.float64)
        known = np.isfinite(values)
        per_frame = tuple(float(value) if good else None for value, good in zip(values, known, strict=True))
        if not known.any():
            return cls.missing(reason, per_frame=per_frame, diagnostics=diagnostics)
        share = 1.0 if expected is None else float((known & expected).sum() / max(1, expected.sum()))
        return cls(float(values[known].mean()), per_frame=per_frame, diagnostics=diagnostics, share=share)

    def as_dict(self) -> dict:
        """A JSON-ready form without empty fields."""
        fields = {"value": self.value, "status": self.status, "reason": self.reason}
        if self.per_frame is not None:
            fields["per_frame"] = list(self.per_frame)
        if self.diagnostics:
            fields["diagnostics"] = self.diagnostics
        if self.share < 1:
            fields["share"] = self.share
        return {name: value for name, value in fields.items() if value != ""}


@dataclass(frozen=True)
class Sample:
    """One generated video and everything known about it.

    Args:
        clip: what was asked for, with the truth where it is known.
        frames: [T, H, W, 3] uint8 generated frames; frame 0 is the anchor and never counts.
        estimated_cameras: T cameras measured from the generated frames, in the world of the commanded ones, or None.
            Give `EstimatedCameras` where frames are missing. Afterwards this is always the plain cameras, and
            `estimate` has what is known of them.

    Raises:
        ValueError: if the frames do not fit the clip.
    """

    clip: Clip
    frames: np.ndarray
    estimated_cameras: Cameras | EstimatedCameras | None = None
    estimate: EstimatedCameras | None = field(default=None, init=False)
    _results: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.estimated_cameras, Cameras):
            object.__setattr__(self, "estimate", EstimatedCameras(self.estimated_cameras))
        elif self.estimated_cameras is not None:
            object.__setattr__(self, "estimate", self.estimated_cameras)
            object.__setattr__(self, "estimated_cameras", self.estimate.cameras)
        problems = []
        cameras = self.clip.target_cameras
        if self.frames.dtype != np.uint8 or self.frames.ndim != 4 or self.frames.shape[-1] != 3:
            problems.append(f"generated frames must be uint8 [T, H, W, 3], got {_described(self.frames)}")
        elif cameras is not None and len(self.frames) != len(cameras):
            problems.append(f"{len(self.frames)} generated frames for {len(cameras)} commanded cameras")
        elif self.clip.target_frames is not None and self.clip.target_frames.shape != self.frames.shape:
            problems.append(
                f"generated frames {list(self.frames.shape)} and true frames {list(self.clip.target_frames.shape)} "
                "differ in shape"
            )
        if len(self.frames) < 2:
            problems.append("at least 2 frames are needed, because frame 0 never counts")
        if self.estimated_cameras is not None and len(self.estimated_cameras) != len(self.frames):
            problems.append(f"{len(self.estimated_cameras)} estimated cameras for {len(self.frames)} frames")
        if problems:
            raise ValueError(f"clip {self.clip.name}: " + "; ".join(problems) + ".")

    def lacks(self, needs: tuple[str, ...]) -> list[str]:
        """Those of the needs (names from `NEEDS`) that this sample cannot serve."""
        return [need for need in needs if not NEEDS[need](self)]

    def once(self, function: Callable[["Sample"], Any]) -> Any:
        """The result of `function` for this sample, computed once: metrics of one family share their costly part."""
        if function not in self._results:
            self._results[function] = function(self)
        return self._results[function]


def _described(frames: np.ndarray) -> str:
    """Type and shape of frames, with a word on what is wrong with usual kinds."""
    kinds = {1: "grey, repeat it three times", 2: "grey with alpha", 4: "with an alpha channel, drop it"}
    words = []
    if frames.ndim == 3:
        words.append("a single frame, or grey")
    elif frames.ndim == 4 and frames.shape[-1] in kinds:
        words.append(kinds[frames.shape[-1]])
    if frames.dtype.kind == "f":
        broken = int((~np.isfinite(frames)).sum())
        words.append(f"{broken} values are not finite" if broken else "convert to 0 to 255")
    return f"{frames.dtype} {list(frames.shape)}" + (f" ({', '.join(words)})" if words else "")


NEEDS: dict[str, Callable[[Sample], bool]] = {
    "target_cameras": lambda sample: sample.clip.target_cameras is not None,
    "target_frames": lambda sample: sample.clip.target_frames is not None,
    "target_depth": lambda sample: sample.clip.target_depth is not None,
    "context_depth": lambda sample: sample.clip.context_depth is not None and sample.clip.context_cameras is not None,
    "estimated_cameras": lambda sample: sample.estimated_cameras is not None and sample.clip.target_cameras is not None,
    "metric_cameras": lambda sample: sample.estimated_cameras is not None
    and sample.estimated_cameras.metric
    and sample.clip.target_cameras is not None
    and sample.clip.target_cameras.metric,
}
"""What a metric may need, and how to tell whether a sample has it."""

DEGRADATIONS: dict[str, str] = {
    "camera_noise": "the camera turns away from the commanded one by some degrees, frame by frame",
    "scale_drift": "the camera moves ever more or less than commanded",
    "wrong_turn": "the camera turns the other way",
    "backwards": "the camera moves the other way",
    "frozen": "the video stops moving",
    "scene_swap": "another scene is shown",
    "blur": "edges are lost",
    "swimming": "texture slides over surfaces that stand still",
    "object_moved": "one object stands elsewhere than in the context",
    "hallucinated_target": "the object to find is put where it is not",
    "copied_context": "frames of the context are shown as they are",
    "static": "the anchor frame is repeated",
}
"""What can be wrong with a generated video: the names by which metrics declare what they see."""


@dataclass(frozen=True)
class Metric:
    """One line of the registry.

    Args:
        name: as in results files.
        function: Sample -> Measurement.
        direction: `higher` or `lower` is better, or `none` for a description (motion) that has no better side.
        unit: for people.
        worst: what a failure counts as in penalised means; None where there is no better side.
        needs: names from `NEEDS`; without them the metric is not applicable.
        explanation: one sentence for the report.
        source: paper and section or equation, library, or `own`.
        sees: names from `DEGRADATIONS` that make its value worse; what is not listed it may well reward.

    Raises:
        ValueError: for an unknown direction, need or degradation.
    """

    name: str
    function: Callable[[Sample], Measurement]
    direction: str
    unit: str
    worst: float | None
    needs: tuple[str, ...]
    explanation: str
    source: str
    sees: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = [] if self.direction in ("higher", "lower", "none") else [f"direction {self.direction!r}"]
        problems += [f"need {name!r}" for name in self.needs if name not in NEEDS]
        problems += [f"degradation {name!r}" for name in self.sees if name not in DEGRADATIONS]
        if problems:
            raise ValueError(f"metric {self.name}: unknown {', '.join(problems)}.")

    def __call__(self, sample: Sample) -> Measurement:
        lacking = sample.lacks(self.needs)
        if lacking:
            return Measurement(None, "not_applicable", f"needs {', '.join(lacking)}")
        return self.function(sample)


@dataclass(frozen=True)
class SetMetric(Metric):
    """A metric of many clips together; its function takes all samples of a row."""

    def __call__(self, samples: Sequence[Sample]) -> Measurement:
        lacking = sorted({need for sample in samples for need in sample.lacks(self.needs)})
        if lacking or not samples:
            return Measurement(None, "not_applicable", f"needs {', '.join(lacking) or 'clips'}")
        return self.function(samples)
