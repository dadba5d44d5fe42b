"""The capture: what every dataset reader and the simulator yield."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.naming import some


@dataclass(frozen=True)
class SceneObject:
    """A labelled object of a scene with its oriented box.

    Args:
        label: class name, lower case.
        instance_id: the object's number in instance pictures.
        center: middle of the box in the capture's world.
        size: full extents along the box's own x, y and up axes.
        yaw: rotation of the box about the up axis, radians, counter-clockwise seen from above.
        movable: whether a person could carry or push it elsewhere.
    """

    label: str
    instance_id: int
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float = 0.0
    movable: bool = True

    def corners(self) -> np.ndarray:
        """The eight corners [8, 3] of the box in a world whose third axis points up."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        return (signs * np.array(self.size)) @ rotation.T + np.array(self.center)


@dataclass(frozen=True)
class Capture:
    """One recorded or simulated walk through a scene; pixels are read on demand.

    Args:
        name: unique, stable name.
        frame_count, height, width: size of the video.
        times: seconds of every frame [frame_count].
        read_frames: maps frame indices (any order, repeats allowed) to uint8 pictures [n, height, width, 3].
        cameras: one per frame, or None where unknown.
        read_depth: maps indices to z-depth [n, height, width] float32 in the unit of the cameras (0: unknown), or None.
        read_instances: maps indices to instance ids [n, height, width] int32 (0: none), or None.
        objects: objects of the scene, empty where unknown.
        up_axis: unit vector [3] pointing up in the world of the cameras, or None where unknown.
        licence: SPDX identifier or name of the terms of use.
        redistributable: whether the terms allow passing pixels on.
        space: the physical (or simulated) space; captures of one space never end in two splits. Default: the capture's name.
        split: train, validation or test where an official list says so, else None.
        provenance: where the capture comes from; plain values only.
        focal_35mm: focal length of its lens on 35 mm film, in millimetres, where a file without cameras names it.
    """

    name: str
    frame_count: int
    height: int
    width: int
    times: np.ndarray
    read_frames: Callable[[Sequence[int]], np.ndarray]
    cameras: Cameras | None = None
    read_depth: Callable[[Sequence[int]], np.ndarray] | None = None
    read_instances: Callable[[Sequence[int]], np.ndarray] | None = None
    objects: tuple[SceneObject, ...] = ()
    up_axis: tuple[float, float, float] | None = None
    licence: str = "unknown"
    redistributable: bool = False
    space: str = ""
    split: str | None = None
    provenance: dict = field(default_factory=dict)
    focal_35mm: float | None = None

    def __post_init__(self):
        if not self.space:
            object.__setattr__(self, "space", self.name)
        problems = []
        if len(self.times) != self.frame_count:
            problems.append(f"{len(self.times)} times")
        if self.cameras is not None and len(self.cameras) != self.frame_count:
            problems.append(f"{len(self.cameras)} cameras")
        if problems:
            raise ValueError(
                f"capture {self.name!r} has {self.frame_count} frames but {' and '.join(problems)}; give one per frame"
            )

    @property
    def remarks(self) -> list[str]:
        """What its reader has to say: `notes` of the provenance, and what was `left_out`, by reason."""
        left_out = self.provenance.get("left_out", {})
        counted = [f"{len(names)} {reason}: {some(map(str, names))}" for reason, names in left_out.items()]
        return [*self.provenance.get("notes", []), *counted]

    def __len__(self) -> int:
        return self.frame_count
