"""The Clip: one training or test example."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.captures import SceneObject
from video4spatial.clips.instruction import Ground, Instruction, Navigate
from video4spatial.clips.regions import Region


@dataclass(frozen=True)
class Clip:
    """One example: what the model is given, what it is asked for, and the truth where it is known.

    Args:
        name: unique within its set.
        scene: identity of the physical (or simulated) space; confidence intervals are taken over scenes.
        context_frames: [N, H, W, 3] uint8, oldest first.
        context_times: [N] seconds.
        instruction: what to do, or None for a video that was made without one and is only scored.
        anchor: index into the context of the frame the instruction starts from.
        context_cameras: N cameras, or None when unknown.
        context_depth: [N, H, W] float32 metres along the optical axis, or None.
        context_detailed: [N, H', W', 3] uint8, the context frames in more pixels, for reading cameras and depth; None where there are none.
        target_frames: [T, H, W, 3] uint8 truth, or None. Frame 0 is the anchor frame.
        target_depth: [T, H, W] float32 metres, or None.
        target_cameras: T true cameras of the target frames, or None when unknown; those of the instruction if it has them.
        target_boxes: [T, 4] float32 where the object to find is (left, top, right, bottom as shares; NaN where it is out of sight),
            or None.
        target_object: the object to find with its box in the world of the target cameras (third axis up), or None when unknown. It is
            for scores; a model never sees it.
        provenance: where it came from, enough to make it again.
    """

    name: str
    scene: str
    context_frames: np.ndarray
    context_times: np.ndarray
    instruction: Instruction | None
    anchor: int
    context_cameras: Cameras | None = None
    context_depth: np.ndarray | None = None
    context_detailed: np.ndarray | None = None
    target_frames: np.ndarray | None = None
    target_depth: np.ndarray | None = None
    target_cameras: Cameras | None = None
    target_boxes: np.ndarray | None = None
    target_object: SceneObject | None = None
    provenance: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.target_cameras is None and isinstance(self.instruction, Navigate):
            object.__setattr__(self, "target_cameras", self.instruction.cameras)
        if isinstance(self.instruction, Ground) and self.instruction.region is not None:
            region, count, size = self.instruction.region, len(self.context_frames), self.context_frames.shape[1:3]
            mask = region.mask
            if not 0 <= region.frame < count:
                raise ValueError(f"clip {self.name}: a region on frame {region.frame} of {count}: expected 0 to {count - 1}.")
            if mask is not None and mask.shape != size:
                sizes = " and ".join(f"{width}x{height}" for height, width in (mask.shape, size))
                raise ValueError(f"clip {self.name}: the region's mask and the frames have {sizes} pixels: expected one size.")

    @property
    def num_target_frames(self) -> int:
        """T.

        Raises:
            ValueError: for a clip that knows neither frames nor cameras of its target.
        """
        known = self.target_frames if self.target_cameras is None else self.target_cameras
        if known is None:
            raise ValueError(f"clip {self.name} knows neither frames nor cameras of its target: nothing tells how long it is.")
        return len(known)

    def with_context(self, indices: list[int]) -> "Clip":
        """The same clip with only some of its context frames.

        Args:
            indices: ascending positions in the context; the anchor must be among them.

        Raises:
            ValueError: if the anchor or the frame of the instruction's region is left out, or the order is not ascending.
        """
        if self.anchor not in indices or list(indices) != sorted(set(indices)):
            raise ValueError(f"context indices {list(indices)}: expected ascending, with the anchor {self.anchor} among them.")
        indices = list(indices)
        return replace(
            self,
            context_frames=self.context_frames[indices],
            context_times=self.context_times[indices],
            instruction=self._instruction_within(indices),
            anchor=indices.index(self.anchor),
            context_cameras=None if self.context_cameras is None else self.context_cameras[indices],
            context_depth=None if self.context_depth is None else self.context_depth[indices],
            context_detailed=None if self.context_detailed is None else self.context_detailed[indices],
        )

    def viewed(
        self,
        *,
        frames: Callable[[np.ndarray], np.ndarray] = lambda frames: frames,
        depth: Callable[[np.ndarray], np.ndarray] = lambda depth: depth,
        cameras: Callable[[Cameras], Cameras] = lambda cameras: cameras,
        boxes: Callable[[np.ndarray], np.ndarray] = lambda boxes: boxes,
        text: Callable[[str], str] = str,
    ) -> "Clip":
        """The clip with one change of view applied to all that is known of it, the instruction included.

        Args:
            frames, depth: of pictures [n, H, W, 3] and depth maps [n, H, W]; the latter also of a region's mask.
            cameras: of the cameras that took them.
            boxes: of boxes [n, 4] in them; NaN where nothing is left of one. A region that is lost is left out where words say the same.
            text: of the instruction's words.

        Raises:
            ValueError: if the region is lost that alone names the object.
        """

        def if_known(change: Callable, value):
            return None if value is None else change(value)

        instruction = self.instruction
        if isinstance(instruction, Navigate):
            instruction = replace(instruction, cameras=cameras(instruction.cameras))
        elif instruction is not None:
            region = instruction.region
            if region is not None:
                region = _region_viewed(region, depth, boxes)
                if region is None and instruction.text is None:
                    raise ValueError(f"clip {self.name}: the region {instruction.region.box}, which names the object, would be lost.")
            instruction = replace(instruction, text=if_known(text, instruction.text), region=region)
        return replace(
            self,
            context_frames=frames(self.context_frames),
            instruction=instruction,
            context_cameras=if_known(cameras, self.context_cameras),
            context_depth=if_known(depth, self.context_depth),
            context_detailed=None,
            target_frames=if_known(frames, self.target_frames),
            target_depth=if_known(depth, self.target_depth),
            target_cameras=if_known(cameras, self.target_cameras),
            target_boxes=if_known(lambda known: boxes(known).astype(np.float32), self.target_boxes),
        )

    def _instruction_within(self, indices: list[int]) -> Instruction | None:
        """The instruction for a context of which only some frames are left."""
        if not isinstance(self.instruction, Ground) or self.instruction.region is None:
            return self.instruction
        region = self.instruction.region
        if region.frame not in indices:
            raise ValueError(f"context indices {indices}: expected the frame {region.frame} among them, whose region names the object.")
        return replace(self.instruction, region=replace(region, frame=indices.index(region.frame)))


def _region_viewed(region: Region, depth: Callable[[np.ndarray], np.ndarray], boxes: Callable[[np.ndarray], np.ndarray]) -> Region | None:
    """A region after a change of view, or None where nothing is left of it."""
    if region.mask is not None:
        mask = depth(region.mask[None].astype(np.float32))[0] > 0.5
        return replace(region, mask=mask) if mask.any() else None
    box = boxes(np.array([region.box], dtype=np.float64))[0]
    return replace(region, box=tuple(box.tolist())) if np.isfinite(box).all() else None
