"""The data of a simulated scene: packed primitives, textures, lights and labelled objects.

The world is in metres, right-handed, z up, with the floor at z = 0.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from video4spatial.captures.capture import SceneObject
from video4spatial.simulation.free_space import FreeSpace, Room
from video4spatial.simulation.pieces import Part, Piece
from video4spatial.simulation.seeds import split_of
from video4spatial.simulation.textures import TextureBank

LIGHT_COUNT = 3


@dataclass(frozen=True, eq=False)
class Scene:
    """A room or two with everything in it, packed for rendering.

    P primitives are unit boxes, upright cylinders or balls (`kind` 0, 1, 2), scaled by `half` [P, 3], turned by `yaw`
    [P] about z and moved to `center` [P, 3]. `face_layers` [P, 6] names a texture per face (-x +x -y +y -z +z); a
    cylinder's side and a ball use the first. Texture coordinates are (local coordinate in -1..1) * `uv_scale` [P, 3]
    + `uv_offset` [P, 3]. `light_gain` [P, 3] says how much each point light reaches a primitive, `emission` [P] how
    much it glows. `texels` [N, 3] and `layers` [L, 3] (offset, height, width) hold the pictures.
    """

    seed: int
    kind: np.ndarray
    center: np.ndarray
    half: np.ndarray
    yaw: np.ndarray
    instance: np.ndarray
    face_layers: np.ndarray
    uv_scale: np.ndarray
    uv_offset: np.ndarray
    light_gain: np.ndarray
    emission: np.ndarray
    texels: np.ndarray
    layers: np.ndarray
    light_position: np.ndarray
    light_colour: np.ndarray
    ambient: np.ndarray
    objects: tuple[SceneObject, ...]
    labels: dict[int, str]
    rooms: tuple[Room, ...]
    doorways: tuple[tuple[float, float], ...]

    @cached_property
    def split(self) -> str:
        """The split of the scene's seed."""
        return split_of(self.seed)

    @cached_property
    def free_space(self) -> FreeSpace:
        """Where a person can walk."""
        return FreeSpace(self.center, self.half, self.yaw, self.rooms, self.doorways)

    def object(self, instance_id: int) -> SceneObject:
        """The object with the given instance id."""
        for candidate in self.objects:
            if candidate.instance_id == instance_id:
                return candidate
        known = [candidate.instance_id for candidate in self.objects]
        raise ValueError(f"scene {self.seed} has no object with instance id {instance_id}; it has {known}")


class SceneAssembler:
    """Collects parts of a scene under construction and packs them into a `Scene`."""

    def __init__(self):
        self.bank = TextureBank()
        self.labels: dict[int, str] = {}
        self.objects: list[SceneObject] = []
        self._rows: list[tuple] = []

    def new_instance(self, label: str) -> int:
        """Reserve the next instance id; ids start at 1, 0 means nothing."""
        self.labels[len(self.labels) + 1] = label
        return len(self.labels)

    def add_part(
        self,
        part: Part,
        instance: int,
        light_gain,
        position=(0.0, 0.0, 0.0),
        yaw=0.0,
        uv_scale=(0.5,) * 3,
        uv_offset=(0.5,) * 3,
    ):
        """Add a part, turned by `yaw` and moved to `position`."""
        cosine, sine = np.cos(yaw), np.sin(yaw)
        x, y, z = part.center
        center = (position[0] + cosine * x - sine * y, position[1] + sine * x + cosine * y, position[2] + z)
        self._rows.append(
            (
                part.kind,
                center,
                part.half,
                yaw + part.yaw,
                instance,
                part.layers,
                uv_scale,
                uv_offset,
                light_gain,
                part.emission,
            )
        )

    def add_piece(self, piece: Piece, position, yaw: float, light_gain) -> SceneObject:
        """Add a piece of furniture standing at `position` as one labelled object."""
        instance = self.new_instance(piece.label)
        for part in piece.parts:
            self.add_part(part, instance, light_gain, position, yaw)
        width, depth, height = piece.size
        center = (float(position[0]), float(position[1]), float(position[2] + height / 2))
        self.objects.append(
            SceneObject(
                piece.label, instance, center, (float(width), float(depth), float(height)), float(yaw), piece.movable
            )
        )
        return self.objects[-1]

    def pack(self, seed: int, light_position, light_colour, ambient, rooms, doorways) -> Scene:
        """The finished scene."""
        columns = list(zip(*self._rows))
        integers = {0, 4, 5}
        arrays = [np.array(c, dtype=np.int32 if i in integers else np.float32) for i, c in enumerate(columns)]
        texels, layers = self.bank.pack()
        lights = [np.array(a, dtype=np.float32) for a in (light_position, light_colour, ambient)]
        return Scene(
            seed,
            *arrays,
            texels,
            layers,
            *lights,
            tuple(self.objects),
            dict(self.labels),
            tuple(rooms),
            tuple(doorways),
        )
