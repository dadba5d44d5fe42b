"""What the examples of a step look like, as training goes on."""

from dataclasses import dataclass
from numbers import Integral


SHARES = (
    "anneal_until", "drop_probability", "walk_probability", "nearby_probability", "pooled_probability", "drop_instruction_probability",
    "geometry_probability",
)  # fmt: skip
"""Settings that are shares or probabilities."""


@dataclass(frozen=True)
class Curriculum:
    """What the examples of a step look like, as training goes from 0 to 1.

    Args:
        context_frames: smallest and largest number of context frames. The largest grows from the smallest over the first half.
        known_cameras: probability that the context's cameras are given, at the start and from `anneal_until` on.
        anneal_until: share of training after which that probability stays.
        drop_probability: share of steps without any condition (for guidance).
        walk_probability: share of steps whose targets are stretches of the walk through a scene (small motion), at the start. It falls
            to half of that. Only simulated scenes have walks.
        target_latents: how many of a target's latents after the anchor an example holds, in their order. Fewer make more examples.
        targets_per_context: targets of one scene that share a context, where they are not stretches of a walk. It divides the batch.
        guard_frames: a stretch of a walk is kept out of its own context, with up to this many frames around it. Such an example has a
            context of its own, of at most `context_frames[1]` / `targets_per_context` frames.
        nearby_probability: share of steps that take their context from the frames nearest to the target's cameras.
        pooled_probability: share of steps whose context has pooled parts, as plans give it (`conditioning.plans`), a third each: far
            frames pooled before near ones in full; all pooled; all pooled, then the nearest (or all) in full. Pooled frames are cheap,
            so there are up to three times `context_frames[1]` of them more.
        pools: sides of the squares that are averaged, one of which is drawn. Each divides the grid of tokens.
        drop_instruction_probability: share of the steps with conditions in which the instruction alone is left out (for separate
            guidance scales). The transformer's `null_instruction` says so.
        geometry_probability: share of steps that show the scene's geometry from the targets' cameras, for transformers with
            `geometry_views`; in the others the model has to do without.

    Raises:
        ValueError: naming every value that cannot be.
    """

    context_frames: tuple[int, int] = (4, 8)
    known_cameras: tuple[float, float] = (1.0, 0.1)
    anneal_until: float = 0.7
    drop_probability: float = 0.1
    walk_probability: float = 0.5
    target_latents: int = 8
    targets_per_context: int = 1
    guard_frames: int = 8
    nearby_probability: float = 0.7
    pooled_probability: float = 0.0
    pools: tuple[int, ...] = (2, 4)
    drop_instruction_probability: float = 0.0
    geometry_probability: float = 0.0

    def __post_init__(self) -> None:
        shares = {name: getattr(self, name) for name in SHARES}
        shares |= {f"known_cameras[{place}]": value for place, value in enumerate(self.known_cameras)}
        problems = [f"{name} {value}: expected a number from 0 to 1" for name, value in shares.items() if not 0 <= value <= 1]
        low, high = self.context_frames
        if not 1 <= low <= high:
            problems.append(f"context_frames {[low, high]}: expected two whole numbers of at least 1, the smaller first")
        for name, least in (("target_latents", 1), ("targets_per_context", 1), ("guard_frames", 0)):
            if getattr(self, name) < least:
                problems.append(f"{name} {getattr(self, name)}: expected at least {least}")
        if not self.pools or not all(isinstance(pool, Integral) and pool >= 2 for pool in self.pools):
            problems.append(f"pools {list(self.pools)}: expected whole numbers of at least 2")
        if problems:
            raise ValueError("curriculum: " + "; ".join(problems) + ".")

    def known_cameras_at(self, progress: float) -> float:
        """Probability that context cameras are given, at a progress from 0 to 1."""
        first, last = self.known_cameras
        return first + (last - first) * min(progress / max(self.anneal_until, 1e-6), 1.0)

    def context_frames_at(self, progress: float) -> tuple[int, int]:
        """Least and greatest number of context frames, at a progress from 0 to 1."""
        low, high = self.context_frames
        return low, low + round((high - low) * min(2 * progress, 1.0))
