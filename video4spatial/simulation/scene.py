"""The data of a simulated scene: packed primitives, textures, lights and labelled objects.

The world is in metres, right-handed, z up, with the floor at z = 0.
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from video4spatial.captures import SceneObject
from video4spatial.simulation.free_space import FreeSpace, Room
from video4spatial.simulation.pieces import Part, Piece
from video4spatial.simulation.seeds import split_of
from video4spatial.simulation.textures import TextureBank

LIGHT_COUNT = 3


@dataclass(frozen=True, eq=False)
class Scene:
    """A room or two with everything in it, packed for rendering.

    Its P primitives are unit boxes, upright cylinders or balls, which are scaled by `half`, turned by `yaw` and moved to `center`.

    Args:
        seed: that it was drawn from.
        kind: [P] 0, 1 or 2: box, cylinder or ball.
        center: [P, 3] metres.
        half: [P, 3] half sizes in metres.
        yaw: [P] radians about z.
        instance: [P] id of the object that it belongs to.
        face_layers: [P, 6] texture of each face (-x +x -y +y -z +z); a cylinder's side and a ball use the first.
        uv_scale, uv_offset: [P, 3]; texture coordinates are (local coordinate in -1..1) * scale + offset.
        light_gain: [P, L] how much each of the L point lights reaches it.
        emission: [P] how much it glows, 0 to 1.
        texels: [N, 3] all textures in a row, 0 to 1.
        layers: [textures, 3] offset into `texels`, height and width.
        light_position: [L, 3] metres.
        light_colour: [L, 3].
        ambient: [3] light that reaches everything.
        objects: labelled objects.
        labels: {instance id: label}, walls and floors included.
        rooms: the rooms.
        doorways: (x, y) of the middle of each doorway.
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
        """The object with an instance id.

        Args:
            instance_id: as in rendered instance pictures.

        Raises:
            ValueError: for an id that is no object's.
        """
        for candidate in self.objects:
            if candidate.instance_id == instance_id:
                return candidate
        known = [candidate.instance_id for candidate in self.objects]
        raise ValueError(f"scene {self.seed} has no object with instance id {instance_id}; it has {known}")


ARRAYS = tuple(field.name for field in fields(Scene) if field.type is np.ndarray)
"""Fields of a scene that renderers read."""


class SceneAssembler:
    """Collects parts of a scene under construction and packs them into a `Scene`."""

    def __init__(self):
        self.bank = TextureBank()
        self.labels: dict[int, str] = {}
        self.objects: list[SceneObject] = []
        self._rows: list[tuple] = []

    def new_instance(self, label: str) -> int:
        """Reserve the next instance id for `label`; ids start at 1, 0 means nothing."""
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
        """Add a part.

        Args:
            part: in its piece's frame.
            instance: id of the object that it belongs to.
            light_gain: how much each point light reaches it.
            position: of the piece in metres.
            yaw: turn of the piece in radians.
            uv_scale, uv_offset: as in `Scene`.
        """
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
        """Add a piece of furniture as one labelled object.

        Args:
            piece: what to add.
            position: where the middle of its bottom stands, in metres.
            yaw: its turn in radians.
            light_gain: how much each point light reaches it.

        Returns:
            The object.
        """
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
        """The finished scene.

        Args:
            seed, light_position, light_colour, ambient, rooms, doorways: as in `Scene`.
        """
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
