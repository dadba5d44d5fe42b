"""What a metric is given (`Sample`), what it returns (`Measurement`) and what it declares (`Metric`)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.clips import Clip
from video4spatial.evaluation.results import STATUSES


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

    Raises:
        ValueError: for an unknown status, a value that is not finite, or a missing value without a reason.
    """

    value: float | None
    status: str = "ok"
    reason: str = ""
    per_frame: tuple[float | None, ...] | None = None
    diagnostics: dict | None = None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r}: expected one of {', '.join(STATUSES)}.")
        if self.status == "ok" and (self.value is None or not math.isfinite(self.value)):
            raise ValueError(f"a measurement with status 'ok' needs a finite value, got {self.value!r}.")
        if self.status != "ok" and (self.value is not None or not self.reason):
            raise ValueError(f"a measurement with status {self.status!r} needs a reason and no value.")

    @classmethod
    def missing(cls, reason: str, **fields) -> "Measurement":
        """A measurement that the data does not allow."""
        return cls(None, "missing", reason, **fields)

    @classmethod
    def over_frames(cls, values: np.ndarray, reason: str, diagnostics: dict | None = None) -> "Measurement":
        """The mean over frames.

        Args:
            values: [T - 1] one figure per scored frame, NaN where a frame gave nothing.
            reason: why there is nothing, should no frame have given anything.
            diagnostics: further figures.
        """
        values = np.asarray(values, dtype=np.float64)
        known = np.isfinite(values)
        per_frame = tuple(float(value) if good else None for value, good in zip(values, known, strict=True))
        if not known.any():
            return cls.missing(reason, per_frame=per_frame, diagnostics=diagnostics)
        return cls(float(values[known].mean()), per_frame=per_frame, diagnostics=diagnostics)

    def as_dict(self) -> dict:
        """A JSON-ready form without empty fields."""
        fields = {"value": self.value, "status": self.status, "reason": self.reason}
        if self.per_frame is not None:
            fields["per_frame"] = list(self.per_frame)
        if self.diagnostics:
            fields["diagnostics"] = self.diagnostics
        return {name: value for name, value in fields.items() if value != ""}


@dataclass(frozen=True)
class Sample:
    """One generated video and everything known about it.

    Args:
        clip: what was asked for, with the truth where it is known.
        frames: [T, H, W, 3] uint8 generated frames; frame 0 is the anchor and never counts.
        estimated_cameras: T cameras measured from the generated frames, in the world of the commanded ones, or None.
            Not measured cameras are not filled in from the commanded ones: that would score the command, not the video.

    Raises:
        ValueError: if the frames do not fit the clip.
    """

    clip: Clip
    frames: np.ndarray
    estimated_cameras: Cameras | None = None
    _results: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems = []
        commanded = len(self.clip.instruction.cameras)
        if self.frames.dtype != np.uint8 or self.frames.ndim != 4 or self.frames.shape[-1] != 3:
            given = f"{self.frames.dtype} {list(self.frames.shape)}"
            problems.append(f"generated frames must be uint8 [T, H, W, 3], got {given}")
        elif len(self.frames) != commanded:
            problems.append(f"{len(self.frames)} generated frames for {commanded} commanded cameras")
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
        """Those of the named needs that this sample cannot serve (see `NEEDS`)."""
        return [need for need in needs if not NEEDS[need](self)]

    def once(self, function: Callable[["Sample"], Any]) -> Any:
        """What `function` makes of this sample, computed once: metrics of one family share their costly part."""
        if function not in self._results:
            self._results[function] = function(self)
        return self._results[function]


NEEDS: dict[str, Callable[[Sample], bool]] = {
    "target_frames": lambda sample: sample.clip.target_frames is not None,
    "target_depth": lambda sample: sample.clip.target_depth is not None,
    "context_depth": lambda sample: sample.clip.context_depth is not None and sample.clip.context_cameras is not None,
    "estimated_cameras": lambda sample: sample.estimated_cameras is not None,
    "metric_cameras": lambda sample: sample.estimated_cameras is not None
    and sample.estimated_cameras.metric
    and sample.clip.instruction.cameras.metric,
}
"""What a metric may need, and how to tell whether a sample has it."""


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
    """

    name: str
    function: Callable[[Sample], Measurement]
    direction: str
    unit: str
    worst: float | None
    needs: tuple[str, ...]
    explanation: str

    def __call__(self, sample: Sample) -> Measurement:
        lacking = sample.lacks(self.needs)
        if lacking:
            return Measurement(None, "not_applicable", f"needs {', '.join(lacking)}")
        return self.function(sample)
