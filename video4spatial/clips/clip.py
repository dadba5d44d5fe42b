"""The Clip: one training or test example, and the instruction it carries out."""

from dataclasses import dataclass, field

import numpy as np

from video4spatial.cameras import Cameras


@dataclass(frozen=True)
class Navigate:
    """Follow a camera path.

    Args:
        cameras: T target cameras; frame 0 is the anchor's viewpoint. Same world as the context's cameras where those are known.
    """

    cameras: Cameras


@dataclass(frozen=True)
class Clip:
    """One example: what the model is given, what it is asked for, and the truth where it is known.

    Args:
        name: unique within its set.
        scene: identity of the physical (or simulated) space; confidence intervals are taken over scenes.
        context_frames: [N, H, W, 3] uint8, oldest first.
        context_times: [N] seconds.
        instruction: what to do.
        anchor: index into the context of the frame the instruction starts from.
        context_cameras: N cameras, or None when unknown.
        context_depth: [N, H, W] float32 metres along the optical axis, or None.
        target_frames: [T, H, W, 3] uint8 truth, or None. Frame 0 is the anchor frame.
        target_depth: [T, H, W] float32 metres, or None.
        provenance: where it came from, enough to make it again.
    """

    name: str
    scene: str
    context_frames: np.ndarray
    context_times: np.ndarray
    instruction: Navigate
    anchor: int
    context_cameras: Cameras | None = None
    context_depth: np.ndarray | None = None
    target_frames: np.ndarray | None = None
    target_depth: np.ndarray | None = None
    provenance: dict = field(default_factory=dict)

    def with_context(self, indices: list[int]) -> "Clip":
        """The same clip with only some of its context frames.

        Args:
            indices: ascending positions in the context; the anchor must be among them.

        Raises:
            ValueError: if the anchor is left out or the order is not ascending.
        """
        if self.anchor not in indices or list(indices) != sorted(set(indices)):
            raise ValueError(f"context indices {list(indices)}: expected ascending, with the anchor {self.anchor} among them.")
        return Clip(
            name=self.name,
            scene=self.scene,
            context_frames=self.context_frames[indices],
            context_times=self.context_times[indices],
            instruction=self.instruction,
            anchor=list(indices).index(self.anchor),
            context_cameras=None if self.context_cameras is None else self.context_cameras[list(indices)],
            context_depth=None if self.context_depth is None else self.context_depth[indices],
            target_frames=self.target_frames,
            target_depth=self.target_depth,
            provenance=self.provenance,
        )
