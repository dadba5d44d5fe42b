"""Targets of grounding: paths on which someone searches for an object and comes to a stop before it.

They end with the object clearly in sight and begin without it. A capture seldom holds many (`captured`). Leaving an object, played
backwards, is one as well (`reversed`), and so is a path from view to view over all frames of the capture (`graph`). The last two
need a scene in which nothing moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from scipy.sparse import csgraph, csr_matrix

from data_curation.scene import Result, Scene
from data_curation.stages.grounding import GroundingContextSettings, far_in_time, shows
from data_curation.stages.visibility import Visibility
from video4spatial.cameras import Cameras, viewpoint_distance
from video4spatial.captures import Capture
from video4spatial.spread import thinned

Origin = Literal["captured", "reversed", "graph"]
ORIGINS: tuple[Origin, ...] = ("captured", "reversed", "graph")
METRE_SECONDS = 2.0
"""Where the scale is unknown, the camera is taken to need this many seconds for a metre, at its median speed."""
MOST_NODES = 800
GRAPH_ENDS = 6  # views of an object that paths may lead to
GRAPH_STARTS = 16  # paths tried for each of these views


@dataclass(frozen=True)
class ApproachSettings:
    """What an approach is. Areas are shares of the picture, offsets shares of its width and height.

    Args:
        frames: per target, the anchor's included.
        frame_rate: of the targets, frames per second; the recorded frames nearest to those times are taken.
        start_area: the object covers less than this in the first frame.
        end_area: smallest and largest area in the last frame.
        end_offset: largest offset, on either axis, of the object from the middle of the last frame.
        visible: share of the object in sight from which a view counts as clear.
        last_frames: number of frames at the end that are looked at for clear views.
        last_clear: how many of them must be clear; the last one always must.
        nearer: share by which the distance to the object must fall. Either this or `turned` is required.
        turned: degrees by which the angle between view and object must fall.
        trend: steadiness of the fall: the rank correlation with time is at most minus this.
        farther: where only the angle falls, the distance may grow by at most this share.
        fastest_metres: per second, in any step.
        fastest_degrees: per second, in any step.
        edge_metres: largest motion between two neighbours of a path over the frames of the whole capture.
        edge_degrees: largest turn between them.
        per_object: most approaches kept per object.
        end_spread: least difference of the last views of two approaches to an object, in metres + degrees / 45.
        origins: where approaches are looked for; `("captured",)` for scenes in which things move.
    """

    frames: int = 9
    frame_rate: float = 4.0
    start_area: float = 0.005
    end_area: tuple[float, float] = (0.02, 0.4)
    end_offset: float = 0.25
    visible: float = 0.5
    last_frames: int = 5
    last_clear: int = 3
    nearer: float = 0.3
    turned: float = 45.0
    trend: float = 0.6
    farther: float = 0.05
    fastest_metres: float = 2.0
    fastest_degrees: float = 90.0
    edge_metres: float = 0.3
    edge_degrees: float = 20.0
    per_object: int = 3
    end_spread: float = 0.5
    origins: tuple[Origin, ...] = ORIGINS


@dataclass(frozen=True)
class Approach:
    """One approach to an object.

    Args:
        object: index in `capture.objects`.
        frames: indices of the target frames in the order of the approach, the anchor first.
        origin: how it came about.
        boxes: [T, 4] where the object is in them: left, top, right, bottom as shares; NaN where it is out of sight.
        score: mean of the parts.
        parts: what speaks for it, 0 to 1 each: `centred`, `visible`, `nearer`, `turned`, `steady` (share of clear views at the
            end).
    """

    object: int
    frames: tuple[int, ...]
    origin: Origin
    boxes: np.ndarray
    score: float
    parts: dict[str, float]


@dataclass(frozen=True)
class Approaches:
    """Approaches that a capture offers.

    Args:
        kept: at most `per_object` per object, the best first.
        rejected: {reason: how many were left out}; `never_seen` and `no_good_view` count objects, all others windows and paths.
    """

    kept: tuple[Approach, ...]
    rejected: dict[str, int]


def find_approaches(
    capture: Capture,
    visibility: Visibility,
    usable: np.ndarray,
    stretches: Iterable[range],
    settings: ApproachSettings = ApproachSettings(),
    context: GroundingContextSettings = GroundingContextSettings(),
) -> Approaches:
    """Look for approaches to every object of `visibility`.

    Args:
        capture: with cameras.
        visibility: of all its frames.
        usable: [N] whether a frame may be target or context.
        stretches: frames between which the path does not break (`pose_quality.stretches`); a path over the graph may cross them.
        settings: what an approach is.
        context: what its context must be; an approach whose object the rest of the capture does not show is left out.

    Raises:
        ValueError: for visibility of other frames than all of the capture's.
    """
    if visibility.frames != tuple(range(len(capture))):
        raise ValueError(
            f"visibility of {len(visibility.frames)} frames: expected all {len(capture)} of {capture.name!r}, in order"
        )
    stretches = list(stretches)
    cameras = _in_metres(capture.cameras, np.asarray(capture.times))
    search = _Search(cameras, np.asarray(capture.times), visibility, usable, stretches, settings, context)
    kept, rejected = [], Counter()
    for row in range(len(visibility.objects)):
        ends = search.ends(row)
        if not len(ends):
            rejected["no_good_view" if (visibility.area[row] >= settings.start_area).any() else "never_seen"] += 1
            continue
        found = []
        for frames, origin, reason in (*search.recorded(ends), *search.over_graph(row, ends)):
            reason = reason or search.problem(row, frames, origin)
            if reason is None:
                found.append(search.approach(row, frames, origin))
            else:
                rejected[reason] += 1
        best = search.best(found)
        rejected["similar_to_better"] += len(found) - len(best)
        kept += best
    return Approaches(tuple(kept), {reason: count for reason, count in rejected.items() if count})


def _in_metres(cameras: Cameras, times: np.ndarray) -> Cameras:
    if cameras.metric:
        return cameras
    steps = np.linalg.norm(cameras.positions.diff(dim=0).numpy(), axis=1)
    speed = float(np.median(steps / np.maximum(np.diff(times), 1e-6)))
    return cameras.scaled(1 / max(speed * METRE_SECONDS, 1e-9), metric=True)


class _Search:
    """What all objects of a capture share."""

    def __init__(
        self,
        cameras: Cameras,
        times: np.ndarray,
        visibility: Visibility,
        usable: np.ndarray,
        stretches: list[range],
        settings: ApproachSettings,
        context: GroundingContextSettings,
    ) -> None:
        self.cameras, self.times, self.visibility = cameras, times, visibility
        self.usable, self.stretches, self.settings, self.context = usable, stretches, settings, context
        within = np.zeros(len(times), dtype=bool)
        for stretch in stretches:
            within[stretch.start : stretch.stop] = True
        nodes = np.flatnonzero(usable & within)
        nodes = nodes[thinned(len(nodes), MOST_NODES)]
        self.nodes = nodes if "graph" in settings.origins else nodes[:0]
        self.graph = self._graph() if len(self.nodes) > 1 else None

    def ends(self, row: int) -> np.ndarray:
        """Frames that an approach may end with."""
        area, offset = self.visibility.area[row], np.abs(self.visibility.offset[row]).max(axis=-1)
        smallest, largest = self.settings.end_area
        good = (area >= smallest) & (area <= largest) & (self.visibility.visible[row] >= self.settings.visible)
        return np.flatnonzero(good & self.usable & (offset <= self.settings.end_offset))

    def recorded(self, ends: np.ndarray) -> Iterator[tuple[tuple[int, ...], Origin, str | None]]:
        """Windows that lead to the given frames, forwards and backwards in time, or why there is none."""
        step = 1 / self.settings.frame_rate
        for stretch in self.stretches:
            times = self.times[stretch.start : stretch.stop]
            for end in ends[(ends >= stretch.start) & (ends < stretch.stop)]:
                for origin, sign in (("captured", 1), ("reversed", -1)):
                    if origin not in self.settings.origins:
                        continue
                    wanted = self.times[end] - sign * step * np.arange(self.settings.frames)[::-1]
                    nearest = np.abs(times - wanted[:, None]).argmin(axis=1)
                    reason = None
                    if wanted.min() < times[0] - 1e-6 or wanted.max() > times[-1] + 1e-6:
                        reason = "stretch_too_short"
                    elif (sign * np.diff(nearest) <= 0).any() or np.abs(times[nearest] - wanted).max() > step / 2:
                        reason = "too_few_frames"
                    yield tuple((nearest + stretch.start).tolist()), origin, reason

    def over_graph(self, row: int, ends: np.ndarray) -> Iterator[tuple[tuple[int, ...], Origin, str | None]]:
        """Paths that lead to the best of the given frames over the frames of the whole capture, or why there is none."""
        ends = np.flatnonzero(np.isin(self.nodes, ends))
        if self.graph is None or not len(ends):
            return
        quality = self.visibility.visible[row] - 2 * np.nan_to_num(np.abs(self.visibility.offset[row])).max(axis=-1)
        order = ends[np.argsort(-quality[self.nodes[ends]], kind="stable")]
        chosen: list[int] = []
        for end in order:
            if len(chosen) < GRAPH_ENDS and (self.apart[end, chosen] >= self.settings.end_spread).all():
                chosen.append(int(end))
        for end in chosen:
            found = False
            for path in self._paths(row, end):
                found = True
                frames = self._resampled(path)
                yield frames or (), "graph", None if frames else "too_few_frames"
            if not found:
                yield (), "graph", "no_path"

    def problem(self, row: int, frames: tuple[int, ...], origin: Origin) -> str | None:
        """Why a window is no approach; its last frame is one of `ends`."""
        settings, visibility, index = self.settings, self.visibility, list(frames)
        if not self.usable[index].all():
            return "poor_frame"
        if visibility.area[row, index[0]] >= settings.start_area:
            return "seen_at_start"
        if self._clear(row, frames) < settings.last_clear:
            return "seen_too_shortly"
        if not self._comes_nearer(row, index):
            return "no_approach"
        # Frames of a path come from different times; it is walked at the rate of the target.
        seconds = 1 / settings.frame_rate if origin == "graph" else np.abs(np.diff(self.times[index]))
        metres = torch.linalg.vector_norm(self.cameras[index].positions.diff(dim=0), dim=-1).numpy()
        degrees = self.cameras[index[1:]].rotation_to(self.cameras[index[:-1]]).numpy()
        if (metres / seconds > settings.fastest_metres).any() or (degrees / seconds > settings.fastest_degrees).any():
            return "too_fast"
        shown = shows(visibility, row, self.context) & self.usable & far_in_time(self.times, frames, self.context.guard_seconds)
        return "not_in_context" if shown.sum() < self.context.views else None

    def approach(self, row: int, frames: tuple[int, ...], origin: Origin) -> Approach:
        """A window without a problem, with its score."""
        visibility, (first, last) = self.visibility, (frames[0], frames[-1])
        parts = {
            "centred": 1 - float(np.abs(visibility.offset[row, last]).max()) / max(self.settings.end_offset, 1e-9),
            "visible": float(visibility.visible[row, last]),
            "nearer": float(np.clip(1 - visibility.distance[row, last] / visibility.distance[row, first], 0, 1)),
            "turned": float(np.clip((visibility.angle[row, first] - visibility.angle[row, last]) / 90, 0, 1)),
            "steady": self._clear(row, frames) / self.settings.last_frames,
        }
        boxes = visibility.boxes[row, list(frames)]
        return Approach(visibility.objects[row], frames, origin, boxes, float(np.mean(list(parts.values()))), parts)

    def best(self, found: list[Approach]) -> list[Approach]:
        """The best approaches to one object that end differently; of about equal ones, those that were recorded."""
        found = sorted(found, key=lambda approach: (-round(approach.score, 1), ORIGINS.index(approach.origin), -approach.score))
        kept: list[Approach] = []
        for approach in found:
            ends = [other.frames[-1] for other in kept]
            end = self.cameras[approach.frames[-1]]
            if not ends or float(viewpoint_distance(end, self.cameras[ends]).min()) >= self.settings.end_spread:
                kept.append(approach)
            if len(kept) == self.settings.per_object:
                break
        return kept

    def _clear(self, row: int, frames: tuple[int, ...]) -> int:
        last = list(frames[-self.settings.last_frames :])
        visible, area = self.visibility.visible[row, last], self.visibility.area[row, last]
        return int(((visible >= self.settings.visible) & (area >= self.settings.end_area[0])).sum())

    def _comes_nearer(self, row: int, frames: list[int]) -> bool:
        distance, angle = self.visibility.distance[row, frames], self.visibility.angle[row, frames]
        settings = self.settings
        if distance[-1] <= (1 - settings.nearer) * distance[0] and _trend(distance) <= -settings.trend:
            return True
        turns = angle[0] - angle[-1] >= settings.turned and _trend(angle) <= -settings.trend
        return bool(turns and distance[-1] <= (1 + settings.farther) * distance[0])

    def _graph(self) -> csr_matrix:
        """Edges between frames with little motion between them. Costs are squared motions, so that paths take even, small steps."""
        cameras = self.cameras[self.nodes.tolist()]
        self.metres = torch.cdist(cameras.positions, cameras.positions).numpy()
        self.apart = viewpoint_distance(cameras, cameras).numpy()
        self.degrees = np.maximum(self.apart - self.metres, 0) * 45
        near = (self.metres < self.settings.edge_metres) & (self.degrees < self.settings.edge_degrees)
        np.fill_diagonal(near, False)
        first, second = np.nonzero(near)
        # A frame that repeats another is not worth a step of its own, but a cost of zero would be no edge.
        return csr_matrix((self.apart[first, second] ** 2 + 1e-6, (first, second)), shape=near.shape)

    def _paths(self, row: int, end: int) -> list[list[int]]:
        """The cheapest paths (as places in `nodes`) to a view of an object from frames that do not show it."""
        steps = self.settings.frames - 1
        costs, towards = csgraph.dijkstra(self.graph, indices=end, return_predecessors=True)
        hops, metres, degrees = (np.zeros(len(self.nodes)) for _ in range(3))
        for node in np.argsort(costs, kind="stable"):
            before = towards[node]
            if before >= 0:
                hops[node] = hops[before] + 1
                metres[node] = metres[before] + self.metres[before, node]
                degrees[node] = degrees[before] + self.degrees[before, node]
        distance, angle = self.visibility.distance[row, self.nodes], self.visibility.angle[row, self.nodes]
        starts = np.isfinite(costs) & (hops >= steps) & (self.visibility.area[row, self.nodes] < self.settings.start_area)
        starts &= (metres <= steps * self.settings.fastest_metres / self.settings.frame_rate)
        starts &= (degrees <= steps * self.settings.fastest_degrees / self.settings.frame_rate)
        turns = (angle - angle[end] >= self.settings.turned) & (distance[end] <= (1 + self.settings.farther) * distance)
        starts &= turns | (distance[end] <= (1 - self.settings.nearer) * distance)
        starts = np.flatnonzero(starts)
        paths = []
        for start in starts[np.argsort(costs[starts], kind="stable")][:GRAPH_STARTS].tolist():
            path = [start]
            while path[-1] != end:
                path.append(int(towards[path[-1]]))
            paths.append(path)
        return paths

    def _resampled(self, path: list[int]) -> tuple[int, ...] | None:
        """The frames along a path at even motion, or None where some would be taken twice."""
        motion = np.concatenate([[0.0], np.cumsum(self.apart[path[:-1], path[1:]])])
        wanted = np.linspace(0, motion[-1], self.settings.frames)
        nearest = np.abs(motion - wanted[:, None]).argmin(axis=1)
        return None if (np.diff(nearest) <= 0).any() else tuple(self.nodes[np.array(path)[nearest]].tolist())


def _trend(values: np.ndarray) -> float:
    """Rank correlation of values with their order, -1 (falling all along) to 1."""
    ranks = values.argsort(kind="stable").argsort(kind="stable")
    return float(np.corrcoef(ranks, np.arange(len(values)))[0, 1])


def run(scene: Scene, settings: ApproachSettings, context: GroundingContextSettings) -> Result:
    """The stage `approaches`.

    Args:
        scene: under way, with visibility, frame and pose quality.
        settings: what an approach is.
        context: what its context must be.
    """
    visibility = scene.visibility
    if visibility.method == "box" and visibility.objects:
        # Without depth nobody knows whether a wall stands in between.
        return Result({"approaches": []}, "windows", 0, {"occlusion_unknown": len(visibility.objects)})
    found = find_approaches(scene.capture, visibility, ~scene.poor, scene.stretches, settings, context)
    plain = [{**asdict(approach), "boxes": approach.boxes.tolist(), "frames": list(approach.frames)} for approach in found.kept]
    return Result({"approaches": plain}, "windows", len(plain), found.rejected)
