"""How videos are generated, and what that demands of a model. Messages name arguments in backquotes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING

from video4spatial.conditioning.plan_registry import PLANS
from video4spatial.diffusion import JointGuidance
from video4spatial.models import CacheStorage
from video4spatial.naming import unknown

if TYPE_CHECKING:
    from video4spatial.conditioning.plans import ContextPlan

LEAST = {"num_inference_steps": 1, "seed": 0, "plan_budget": 1, "chunk_frames": 0, "max_context_tokens": 1}
"""Smallest values of the settings that are whole numbers."""

LARGEST = 2**63 - 1
"""The largest of them; the seed of a generator has no more bits."""


@dataclass(frozen=True)
class GenerationSettings:
    """How a video is generated.

    Args:
        num_inference_steps: denoising steps; None for what suits the model.
        guidance: None for none.
        seed: of the noise; the same seed gives the same video.
        show_context: False gives the model the anchor frame alone, outside any scene.
        context_cameras: whether the model is told the cameras of the context, where they are known.
        plan: name of the context plan that chooses what of the clip's context is shown; None shows all of it.
        plan_budget: most context frames that the plan keeps in full.
        plan_options: other options of the plan (`PLANS[plan].options`).
        cache: how the keys and values of the context are kept.
        geometry: what the model is shown of the scene's geometry: `auto`, what can be read from the context; `none`, nothing; or a folder
            that `v4s geometry` wrote of the same frames. None for `auto` where the model has a geometry prompt.
        chunk_frames: longer paths are generated so many frames at a time, each chunk joining the memory. 0 generates any path in
            one pass, None takes as many frames as the model was trained with.
        max_context_tokens: most tokens in memory while chunks join it; of what was generated the oldest goes first. None: no bound.

    Raises:
        ValueError: naming every problem.
    """

    num_inference_steps: int | None = None
    guidance: JointGuidance | None = None
    seed: int = 0
    show_context: bool = True
    context_cameras: bool = False
    plan: str | None = None
    plan_budget: int | None = None
    plan_options: Mapping[str, object] = field(default_factory=dict)
    cache: CacheStorage = CacheStorage()
    geometry: str | None = None
    chunk_frames: int | None = None
    max_context_tokens: int | None = None

    def __post_init__(self) -> None:
        problems = []
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and (not isinstance(value, Integral) or isinstance(value, bool) or not least <= value <= LARGEST):
                most = f" and below {LARGEST + 1}" if isinstance(value, Integral) and value > LARGEST else ""
                problems.append(f"`{name}` {value!r}: expected a whole number of at least {least}{most}")
        if self.chunk_frames == 1:
            problems.append("`chunk_frames` 1: expected 0 (one pass) or at least 2 (the frame a chunk starts from and a new one)")
        if self.show_context:
            problems += self._plan_problems()
        else:
            names = ("context_cameras", "plan", "chunk_frames", "max_context_tokens")
            idle = [name for name in names if getattr(self, name)] + ["geometry"] * (self.geometry not in (None, "none"))
            problems += [f"`{name}` without a context: leave it out, or show the context" for name in idle]
        if problems:
            raise ValueError("; ".join(problems))

    def passes(self, frames: int, target_frames: int) -> tuple[slice, ...]:
        """The passes that generate a path, each of which begins with the last frame of the one before.

        Args:
            frames: of the path, the anchor's included.
            target_frames: frames that the model was trained with.

        Returns:
            The frames of each pass; one slice where there is no need of chunks.
        """
        chunk = target_frames if self.chunk_frames is None else self.chunk_frames
        if not chunk or frames <= chunk or not self.show_context:
            return (slice(0, frames),)
        return tuple(slice(start, min(start + chunk, frames)) for start in range(0, frames - 1, chunk - 1))

    def _plan_problems(self) -> list[str]:
        if self.plan is not None and self.plan not in PLANS:
            return [unknown("context plan", self.plan, PLANS) + f"; known: {', '.join(PLANS)}"]
        problems, plan = [], None if self.plan is None else PLANS[self.plan]
        if plan is None and self.plan_budget is not None:
            problems.append(f"`plan_budget` {self.plan_budget} without a plan: add `plan`, or use `context_frames`")
        pools = plan is not None and plan.pools
        if "pool" in self.plan_options and not pools:
            pooling = " or ".join(each.name for each in PLANS.values() if each.pools)
            given = self.plan_options["pool"]
            problems.append(f"`plan_options.pool` {given} without a plan that averages frames: use {pooling}")
        options = {} if plan is None else plan.options
        problems += [unknown("option of the plan", name, options) for name in self.plan_options if name not in (*options, "pool")]
        if plan and plan.needs_cameras and not self.context_cameras:
            problems.append(f"`plan` {plan.name} needs the cameras of the context: add `context_cameras`, or choose another plan")
        if plan and plan.needs_budget and self.plan_budget is None:
            problems.append(f"`plan` {plan.name} needs `plan_budget`, the most context frames it keeps in full")
        return problems


def complaints(check: Callable, *arguments) -> list[str]:
    """What a check complains of, if anything.

    Args:
        check: raises a ValueError where something is wrong.
        arguments: it is called with.
    """
    try:
        check(*arguments)
    except ValueError as error:
        return [str(error).rstrip(".")]
    return []


def check_plan(settings: GenerationSettings, transformer: Mapping) -> None:
    """Refuse a plan that a model cannot follow.

    Args:
        settings: with the plan.
        transformer: configuration of the model's transformer.

    Raises:
        ValueError: for a plan with averaged frames in full attention.
    """
    if transformer.get("attention_mode") == "full" and settings.plan is not None and PLANS[settings.plan].pools:
        raise ValueError(f"`plan` {settings.plan}: this model has full attention, which takes all frames alike")


def check_pools(plan: ContextPlan, grid: int, height: int, width: int) -> None:
    """Refuse a plan whose averaging does not divide the tokens of the pictures.

    Args:
        plan: which frames the model is shown, and how finely.
        grid: pixels along the side of a token.
        height, width: of the pictures in pixels.

    Raises:
        ValueError: naming the side of the squares that does not.
    """
    rows, columns = height // grid, width // grid
    for pool in sorted({part.pool for part in plan.parts}):
        if rows % pool or columns % pool:
            raise ValueError(
                f"frames of {width}x{height} are {columns}x{rows} tokens, which cannot be averaged over squares of {pool}x{pool}; choose "
                "another `plan_options.pool` or `size`"
            )


def shows_geometry(settings: GenerationSettings, transformer: Mapping) -> bool:
    """Whether a model is shown the scene's geometry.

    Args:
        settings: with the choice.
        transformer: configuration of the model's transformer.
    """
    return settings.show_context and settings.geometry != "none" and transformer.get("geometry_views") is not None


def check_settings(settings: GenerationSettings, transformer: Mapping) -> None:
    """Refuse settings that a model cannot follow, known before its weights are loaded.

    Args:
        settings: to check.
        transformer: configuration of the model's transformer.

    Raises:
        ValueError: naming every problem.
    """
    problems = complaints(check_plan, settings, transformer)
    if transformer.get("attention_mode") == "full":
        idle = {"cache.dtype": settings.cache.dtype, "max_context_tokens": settings.max_context_tokens}
        reason = "this model has full attention, which keeps no keys and values"
        problems += [f"`{name}`: {reason}" for name, value in idle.items() if value is not None]
    if settings.geometry not in (None, "none") and transformer.get("geometry_views") is None:
        problems.append(f"`geometry` {settings.geometry}: this model has no geometry prompt; leave it out")
    if settings.guidance is not None:
        nulls = tuple(transformer.get("null_context", ("absent",)))
        problems += complaints(settings.guidance.check, nulls, transformer.get("null_instruction", False))
    if problems:
        raise ValueError("; ".join(problems))
