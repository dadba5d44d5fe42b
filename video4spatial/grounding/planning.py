"""A way to an object: through space that was seen to be free, at the height of the cameras, to a view that shows it well.

    scene = LevelScene.of(geometry)
    way = plan_way(scene, locate_region(scene, region), anchor=len(geometry) - 1)
    way.path   # cameras relative to the anchor's, as `Navigate` takes them
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from video4spatial.cameras import Cameras
from video4spatial.cameras.level_poses import look_angles, look_poses
from video4spatial.geometry.grid_routes import along, resampled, routes_from, step_graph, traced
from video4spatial.geometry.rendering import sampled
from video4spatial.geometry.visibility import nearest_points
from video4spatial.grounding import NotFound
from video4spatial.grounding.boxes import projected_boxes
from video4spatial.grounding.free_space import SeenSpace
from video4spatial.grounding.levelling import LevelScene
from video4spatial.grounding.locating import Located


@dataclass(frozen=True)
class PlanningSettings:
    """What a good way and a good view are. Lengths are shares of the median depth of the scene, unless said otherwise.

    Args:
        clearances: from what is solid, in metres for somebody who walks; each is tried.
        narrow: the same where nobody walks, as shares of the median depth.
        tight: cost of each step to a smaller clearance.
        area: share of the last picture that the object should fill; from a quarter of it to four times as much is fair.
        steep: degrees that the last view should not look up or down more than.
        climb: cost of a length upwards or downwards beside one that is level.
        rise: how far above and below the context's cameras a camera may go where nobody walks.
        visible: least share of the object that the last view should show.
        candidates: views that are looked at closely.
        height: in pixels, of the pictures they are judged by.
        far: cost of a way as long as the median depth, beside a view whose object is four times too small.
        fastest: mean metres from frame to frame that a way may take where the number of frames is given: a shorter one is taken instead.
        metres, degrees: most motion from frame to frame, where the number of frames is free.
        settle: share of the way after which the camera looks at the object.
    """

    clearances: tuple[float, ...] = (0.35, 0.25, 0.15)
    narrow: tuple[float, ...] = (0.08, 0.05, 0.0)
    tight: float = 0.25
    area: float = 0.15
    steep: float = 35.0
    climb: float = 1.5
    rise: float = 0.1
    visible: float = 0.5
    candidates: int = 16
    height: int = 40
    far: float = 0.15
    fastest: float = 0.14
    metres: float = 0.12
    degrees: float = 9.0
    settle: float = 0.85


SETTINGS = PlanningSettings()


@dataclass(frozen=True)
class View:
    """A view of an object.

    Args:
        camera: one camera in the level world.
        box: left, top, right and bottom of the object as shares; NaN where it is not in the picture.
        visible: share of the object's near side that nothing hides.
        known: share of the picture that the scene's geometry shows.
        cost: what speaks against it, way included.
    """

    camera: Cameras
    box: np.ndarray
    visible: float
    known: float
    cost: float


@dataclass(frozen=True)
class Way:
    """A way to an object.

    Args:
        cameras: T cameras in the level world; frame 0 is the anchor's.
        route: [M, 3] corners of the way before it was smoothed.
        view: of the object at its end.
        clearance: least distance from what is solid.
        space: the space it was planned in.
        words: for people: what is not as it should be; empty where all is.
    """

    cameras: Cameras
    route: np.ndarray
    view: View
    clearance: float
    space: SeenSpace
    words: str = ""

    @property
    def path(self) -> Cameras:
        """The cameras relative to the first."""
        return self.cameras.relative_to(0)


def plan_way(
    scene: LevelScene,
    target: Located,
    anchor: int,
    num_frames: int | None = None,
    frame_rate: float = 4.0,
    least_frames: int = 2,
    space: SeenSpace | None = None,
) -> Way:
    """Plan a way from a frame of the scene to an object.

    Args:
        scene: its geometry and vertical.
        target: the object.
        anchor: frame whose camera the way begins with.
        num_frames: of the way; by default as many as keep the camera slow.
        frame_rate: frames per second.
        least_frames: where the number is free.
        space: of the scene, where it is at hand.

    Raises:
        ValueError: for fewer than 2 frames.
        NotFound: for an anchor that could not be placed in the scene.
    """
    if num_frames is not None and num_frames < 2:
        raise ValueError(f"a way of {num_frames} frames: expected at least 2.")
    if not scene.geometry.placed[anchor]:
        raise NotFound(f"the frame that the way starts from could not be placed in the scene ({scene.geometry.reasons[anchor]}).")
    space = SeenSpace.of(scene) if space is None else space
    start = scene.geometry.cameras[anchor]
    longest = np.inf if num_frames is None else SETTINGS.fastest * (num_frames - 1)
    route, view, clearance = _best(scene, space, target, start, longest)
    words = []
    if len(route) < 2:
        words.append("no way that was seen to be free leads to a better view: the camera turns to the object where it stands")
    if not np.isfinite(view.box).all() or view.visible < SETTINGS.visible:
        words.append("the object may be hidden at the end of the way")
    cameras = _followed(space, route, start, target, clearance, num_frames, frame_rate, least_frames)
    if len(route) > 1:
        clearance = float(space.at(space.room, cameras.positions.numpy()[1:]).min())
    return Way(cameras, route, view, clearance, space, "; ".join(words))


def aimed(start: Cameras, positions: np.ndarray, target: Located) -> Cameras:
    """Level cameras at some places that look at an object.

    Args:
        start: one camera, for the lens.
        positions: [K, 3].
        target: the object.
    """
    yaw, pitch = _angles_to(positions, target)
    poses = torch.from_numpy(look_poses(positions, yaw, pitch, np.zeros(len(positions))))
    return Cameras(poses, start.intrinsics.expand(len(poses), 3, 3), start.metric, convention="planned")


def _angles_to(positions: np.ndarray, target: Located) -> tuple[np.ndarray, np.ndarray]:
    toward = np.array(target.item.center) - positions
    return np.arctan2(toward[:, 1], toward[:, 0]), np.arctan2(toward[:, 2], np.linalg.norm(toward[:, :2], axis=1))


@dataclass(frozen=True)
class _Reach:
    """Places that ways lead to.

    Args:
        places: [M, 3] in the level world.
        costs: [M] of the ways.
        nodes: [M] their nodes in the graph.
        previous: of `routes_from`.
        first: node that ways start from.
        every: [K, 3] places of all nodes.
    """

    places: np.ndarray
    costs: np.ndarray
    nodes: np.ndarray
    previous: np.ndarray
    first: int
    every: np.ndarray

    def route(self, end: np.ndarray) -> np.ndarray:
        """The way [R, 3] to one of the places."""
        nearest = int(np.linalg.norm(self.places - end, axis=1).argmin())
        return self.every[traced(self.previous, int(self.nodes[nearest]), self.first)[::-1]]


def _best(scene: LevelScene, space: SeenSpace, target: Located, start: Cameras, longest: float) -> tuple[np.ndarray, View, float]:
    """The way [M, 3], of at most such a cost, with the best view at its end, that view, and the clearance that the way keeps.

    It is of one place where none is better.
    """
    here, usual = start.positions.numpy(), _usual(scene)
    best = here, _judged(scene, target, start, here, np.zeros(1))[0], 0.0
    least = best[1].cost
    for tight, clearance in enumerate(SETTINGS.clearances if space.walking else [share * usual for share in SETTINGS.narrow]):
        reach = _reachable(scene, space, here[0], max(clearance, 0.5 * space.cell), longest)
        views = [] if reach is None else _judged(scene, target, start, reach.places, reach.costs / usual)
        if not views:
            continue
        view = min(views, key=lambda view: view.cost)
        if view.cost + SETTINGS.tight * tight < least:
            least = view.cost + SETTINGS.tight * tight
            best = np.concatenate([here, reach.route(view.camera.positions.numpy()[0])]), view, clearance
    return best


def _usual(scene: LevelScene) -> float:
    depth = scene.geometry.depth
    return float(np.median(depth[depth > 0])) if (depth > 0).any() else 1.0


def _reachable(scene: LevelScene, space: SeenSpace, here: np.ndarray, clearance: float, longest: float) -> _Reach | None:
    """The places that ways of at most such a cost lead to which keep a clearance, or None where one cannot even start."""
    geometry = scene.geometry
    heights = geometry.cameras.positions.numpy()[geometry.placed, 2]
    usual = _usual(scene)
    rise = space.cell if space.walking else SETTINGS.rise * usual
    layers = space.origin[2] + (np.arange(space.free.shape[2]) + 0.5) * space.cell
    level = (layers >= heights.min() - rise) & (layers <= heights.max() + rise)
    room = np.where(level, space.room, 0.0)
    flat, graph = step_graph(room, clearance, space.cell, (1.0, 1.0, SETTINGS.climb))
    if not len(flat):
        return None
    every = space.middles(flat)
    away = np.linalg.norm(every - here, axis=1)
    first = int(away.argmin())
    if away[first] > 0.25 * usual:
        return None
    costs, previous = routes_from(graph, first)
    nodes = np.flatnonzero(np.isfinite(costs) & (costs <= longest))
    return _Reach(every[nodes], costs[nodes], nodes, previous, first, every)


def _judged(scene: LevelScene, target: Located, start: Cameras, places: np.ndarray, lengths: np.ndarray) -> list[View]:
    """The best of the views from some places [M, 3], to which the ways are so long [M], in median depths of the scene."""
    wide, high = max(target.item.size[:2]), target.item.size[2]
    across = np.tan(np.radians(float(start.fov_degrees[0])) / 2) * 2
    fitting = np.sqrt(wide * high * float(start.aspect[0]) / SETTINGS.area) / across
    away = np.maximum(np.linalg.norm(places - target.item.center, axis=1), 1e-6)
    cost = SETTINGS.far * lengths + np.abs(np.log(away / fitting)) / np.log(2)
    chosen = np.argsort(cost, kind="stable")[:400]
    cameras = aimed(start, places[chosen], target)
    boxes = projected_boxes(target.item, cameras)
    cost = SETTINGS.far * lengths[chosen] + _flaws(scene, target, places[chosen], boxes)
    kept = _apart(places[chosen], cost, 0.1 * _usual(scene))
    cameras = cameras[kept]
    height = SETTINGS.height
    width = max(8, round(height * float(start.aspect[0])))
    seen = scene.geometry.render(cameras, height, width, views=0)
    visible, known = _visible(target, cameras, seen.depth), seen.known.mean((1, 2))
    return [
        View(cameras[place], boxes[index], float(visible[place]), float(known[place]),
             float(cost[index] + 3 * max(0.0, 0.9 - visible[place]) + 1.5 * (1 - known[place])))
        for place, index in enumerate(kept)
    ]  # fmt: skip


def _flaws(scene: LevelScene, target: Located, places: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """What speaks [K] against views of an object, as far as boxes tell: its size in the picture, steepness, and a side nobody saw."""
    areas = np.nan_to_num((boxes[:, 2:] - boxes[:, :2]).prod(1), nan=1e-6).clip(1e-6)
    size = np.minimum(np.abs(np.log(areas / SETTINGS.area)) / np.log(4), 3.0)
    _, pitch = _angles_to(places, target)
    steep = np.maximum(np.abs(np.degrees(pitch)) - SETTINGS.steep, 0) / 15
    seen = scene.geometry.cameras.positions.numpy()[target.frames] - target.item.center
    seen = seen / np.linalg.norm(seen, axis=1, keepdims=True)
    views = places - target.item.center
    views = views / np.linalg.norm(views, axis=1, keepdims=True)
    alike = (views @ seen.T).max(1) if len(seen) else np.ones(len(views))
    return size + steep + 0.8 * (1 - alike)


def _apart(places: np.ndarray, cost: np.ndarray, distance: float) -> list[int]:
    """The cheapest places, none within a distance of a cheaper one."""
    kept: list[int] = []
    for index in np.argsort(cost, kind="stable").tolist():
        if not kept or np.linalg.norm(places[kept] - places[index], axis=1).min() > distance:
            kept.append(index)
        if len(kept) == SETTINGS.candidates:
            break
    return kept


def _visible(target: Located, cameras: Cameras, depth: np.ndarray) -> np.ndarray:
    """The share [K] of an object's near side that rendered depth [K, H, W] (0 where unknown) does not hide; half counts what is unknown."""
    half = depth.shape[1] // 2, depth.shape[2] // 2
    index, along_axis = nearest_points(target.points, cameras, *half)
    shown = sampled(depth, *half)
    near = index >= 0
    open_to = np.where(shown > 0, shown >= 0.9 * np.where(near, along_axis, 0), 0.5)
    return (open_to * near).sum((1, 2)) / np.maximum(near.sum((1, 2)), 1)


def _followed(
    space: SeenSpace, route: np.ndarray, start: Cameras, target: Located, clearance: float, num_frames: int | None, frame_rate: float,
    least_frames: int,
) -> Cameras:  # fmt: skip
    """The cameras of a way: slow at its end, first as the start looks, then at the object."""
    line = _smoothed(space, route, clearance)
    arc = along(line)
    yaw, pitch, roll = look_angles(start.camera_to_world[0].numpy())
    if num_frames is None:
        turned = np.degrees(np.abs(_wrapped(float(_angles_to(line[-1:], target)[0][0]) - yaw)))
        needed = 1.5 * max(arc[-1] / SETTINGS.metres, turned / SETTINGS.degrees)
        num_frames = max(least_frames, 2, int(np.ceil(needed)) + 1)
    phase = np.linspace(0, 1, num_frames)
    positions = resampled(line, arc[-1] * (0.5 * phase + 0.5 * _eased(phase)))
    to_yaw, to_pitch = _angles_to(positions, target)
    share = _eased(np.minimum(phase / SETTINGS.settle, 1))
    turn = np.unwrap(np.concatenate([[0.0], _wrapped(to_yaw - yaw)]))[1:]
    poses = look_poses(positions, yaw + share * turn, pitch + share * (to_pitch - pitch), roll * (1 - share))
    poses[0] = start.camera_to_world[0].numpy()
    cameras = Cameras(torch.from_numpy(poses), start.intrinsics.expand(num_frames, 3, 3).clone(), start.metric, convention="planned")
    return cameras.with_frame_rate(frame_rate)


def _smoothed(space: SeenSpace, route: np.ndarray, clearance: float) -> np.ndarray:
    """A route [M, 3] with its corners rounded where that keeps it clear."""
    if len(route) < 2:
        return np.repeat(route[:1], 2, axis=0)
    dense = resampled(route, np.arange(0, along(route)[-1] + 1e-9, space.cell / 2))
    for sigma in (8.0, 4.0, 2.0):
        smooth = gaussian_filter1d(dense, sigma, axis=0, mode="nearest")
        inner = smooth[3:]  # the start may stand closer to something
        if not len(inner) or space.at(space.room, inner).min() >= 0.8 * clearance:
            dense = smooth
            break
    return np.concatenate([route[:1], dense, route[-1:]])


def _eased(share: np.ndarray) -> np.ndarray:
    return share**2 * (3 - 2 * share)


def _wrapped(angle):
    """Radians between -pi and pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
