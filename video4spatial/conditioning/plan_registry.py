"""The context plans by name, with what each needs. It imports nothing heavy, so that command lines can offer them at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from video4spatial.conditioning.plans import ContextPlan


@dataclass(frozen=True)
class Plan:
    """One line of the registry.

    Args:
        name: as users write it; the function `plan_NAME` in `conditioning/plans.py` carries it out.
        explanation: one sentence.
        needs_budget: whether the budget must be given.
        needs_cameras: whether the cameras must be known.
    """

    name: str
    explanation: str
    needs_budget: bool = False
    needs_cameras: bool = False

    @property
    def function(self) -> Callable[..., ContextPlan]:
        """(material, budget, options...) -> ContextPlan; the parameters after the second are the plan's options."""
        return getattr(import_module("video4spatial.conditioning.plans"), f"plan_{self.name}")

    @property
    def options(self) -> dict[str, object]:
        """Names of the options and their defaults."""
        parameters = list(inspect.signature(self.function).parameters.values())[2:]
        return {parameter.name: parameter.default for parameter in parameters}

    @property
    def pools(self) -> bool:
        """Whether it shows some frames averaged."""
        return "pool" in self.options


_ALL = (
    Plan("all", "Everything, as one segment."),
    Plan("stride", "Chunks evenly spread over the video, the anchor's among them.", needs_budget=True),
    Plan(
        "diverse", "Chunks that look as different from each other as possible, from the anchor's on; needs no cameras.",
        needs_budget=True,
    ),
    Plan(
        "frustum", "Chunks whose views together cover most of the space that the camera saw, from the anchor's on.",
        needs_budget=True, needs_cameras=True,
    ),
    Plan(
        "far_pooled", "The chunks nearest to the anchor (by viewpoint where cameras are known, else by time) in full, all others "
        "pooled in a segment before them.", needs_budget=True,
    ),
    Plan(
        "coarse_to_fine", "All chunks pooled, which the first denoising steps see alone, then all (or the nearest to the anchor) in "
        "full."
    ),
)  # fmt: skip

PLANS: dict[str, Plan] = {plan.name: plan for plan in _ALL}
"""Plans by name."""
