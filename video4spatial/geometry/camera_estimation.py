"""The cameras of a video from its frames alone, in metres where an estimator of depth knows them.

Two ways that fail on different footage: structure from motion by features (`structure_from_motion`), which real and detailed pictures suit,
and motions of pairs by a network, joined and made to fit the pictures through their depth (`pose_graph`, `alignment`), which small, smooth
and short videos suit. Which of them is right is told by a test that needs no truth (`reprojection`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.geometry import GeometryError
from video4spatial.geometry.alignment import Alignment, AlignmentSettings, align_pictures
from video4spatial.geometry.dense_motions import motions_by_flow, with_flow
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.metric_scale import (
    ROOM_BY_MOTIONS, MetricScale, scale_by_depth, scale_by_depth_maps, scale_by_motions, single_depth,
)  # fmt: skip
from video4spatial.geometry.pnp import cameras_by_points
from video4spatial.geometry.pose_graph import MeasuredMotions, MotionEstimator, PoseGraph, chosen_pairs, solve_pose_graph
from video4spatial.geometry.reprojection import VideoMatches, borne_out, video_matches
from video4spatial.geometry.scene_geometry import DepthEstimator
from video4spatial.geometry.structure_from_motion import VIDEO_FRAMES, map_pictures
from video4spatial.naming import unknown

METHODS = ("auto", "structure_from_motion", "network")

ENOUGH_MATCHES = 60
"""Matches between neighbours, in the middle, from which on structure from motion is tried."""

SMALL = 160
"""Pixels of the longer side up to which the network of motions is asked first, and structure from motion only where the network fails: on
test rooms at 128 pixels the network's cameras were bent less in every room where both found all frames, and took a third of the time."""

WITHOUT_ANCHOR = 0.5
"""What cameras are worth that do not have that of the anchor."""

GOOD_SHARE, FAIR_SHARE = 0.8, 0.4
"""Share of matches that bear cameras out, above which nothing else is tried; the latter for motions between small pictures. What was
fitted to matches is borne out by them more than what was not."""

BAD_SHARE = 0.25
"""A frame of which no pair bears out more matches is not where its camera says."""

UNSURE = 0.3
"""Spread of the scale, as its logarithm, above which lengths of structure from motion are made up: the camera hardly moved."""

MOTIONS_SHARE = 0.3
"""Of the time of this way, about what reading motions takes; the rest is alignment."""

ALIGNED_GAPS = (1, 2, 4)
"""Frames between the two of a pair whose pictures are aligned."""

LOOSE_SHARE = 1 / 3
"""A frame is loose where it shares less than this with each of its neighbours in time, of what neighbours usually share: after a cut, or a
turn that no picture bridges."""

FOUND_AGAIN = 15, 0.5
"""Points that place a loose frame among frames of other times: so many, and so many times what it shares with its neighbours."""

ELSEWHERE = 0.1
"""Distance of such a place from where motions put the frame, as of `_apart`, above which it is believed in their stead."""

ROUGH = 1 / 20
"""Share of the longer side by which such points may be off, since the others' cameras and depth are read themselves."""

BRIDGES = 8
"""Frames of other times with which the picture of such a frame is aligned."""

MISFIT = 0.07
"""Difference of two aligned pictures, in shares of their contrast, above which they are not aligned; noisy videos are allowed more: ..."""

USUAL_MISFITS = 3.0
"""... so many times what is usual among their pairs."""

CONTRAST_SIDE, LEAST_CONTRAST = 16, 0.01
"""Pixels of the side at which it is looked whether a picture shows anything, and the deviation of its brightness (from 0 to 1) if so."""

FINEST = 256
"""Pixels of the longer side of the pictures that are compared in the end; smaller ones are enlarged. Against 64, the turns of test rooms
were off by half as much."""

READ_SIDE = 64
"""Pixels of the shorter side of the pictures of which depth is read for alignment."""

SPREADS = {"smooth_spread": 0.1, "pixel_spread": 0.15}
"""Deviations of log depth of what is read from several frames."""

LEAST_OVERLAP = 0.1
"""Share of a picture that another one must show."""


def estimate_cameras(
    frames: np.ndarray,
    intrinsics: Tensor,
    method: str = "auto",
    *,
    motions: MotionEstimator | None = None,
    depth: DepthEstimator | None = None,
    anchor: int = 0,
    advance: Callable[[float], None] = lambda share: None,
) -> EstimatedCameras:
    """Find where the frames of a video were taken from.

    Args:
        frames: [N, H, W, 3] uint8 in the order of time.
        intrinsics: [N, 3, 3] or [3, 3] normalised lenses, kept as they are.
        method: `structure_from_motion`, `network`, or `auto` for the better of the two.
        motions: what reads motions from pairs; needed by `network`.
        depth: what reads depth in metres; without it pictures are not aligned, and structure from motion keeps a unit of its own.
        anchor: frame in whose axes the world is told, counted from either end. Where it cannot be placed beside any other, it is a frame
            of the largest group that can.
        advance: is told what share of reading motions and aligning pictures is done, from 0 to 1; structure from motion tells nothing.

    Returns:
        Cameras with a reason for every frame that was not placed, and `notes` on how they were found. The confidence of a frame is the
        share of its matches that bear it out where it has any, else the weight of its motions.

    Raises:
        ValueError: for an unknown method, a method without what it needs, or lenses that do not fit the frames.
        ImportError: for `structure_from_motion` without pycolmap.
    """
    if method not in METHODS:
        raise ValueError(unknown("`method`", method, METHODS) + f"; expected one of {', '.join(METHODS)}")
    if method == "network" and motions is None:
        raise ValueError("`method` network needs `motions`, an estimator of motions between frames.")
    count = len(frames)
    if not count or intrinsics.shape[-2:] != (3, 3) or (intrinsics.ndim == 3 and len(intrinsics) != count):
        given = f"{count} frames and `intrinsics` {list(intrinsics.shape)}"
        raise ValueError(f"{given}: expected at least one frame and [3, 3] or one lens per frame.")
    video = _Video(frames, intrinsics.double().expand(count, 3, 3), anchor % count, motions, depth, advance)
    if count == 1:
        return video.unplaced("", "one frame: there is no motion to be found")
    shown = np.flatnonzero(_contrasts(frames) > LEAST_CONTRAST)
    if len(shown) < count:
        return _among(video, shown, method)
    return _estimated(video, method)


def _estimated(video: _Video, method: str) -> EstimatedCameras:
    if method == "network":
        return video.checked(video.by_motions(), video.matches)
    if method == "structure_from_motion":
        return video.checked(video.by_features(), video.matches)
    return _better(video)


def _contrasts(frames: np.ndarray) -> np.ndarray:
    """Deviation of the brightness [N] of frames, from 0 to 0.5, without their noise."""
    small = [cv2.resize(frame, (CONTRAST_SIDE,) * 2, interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack(small).mean(-1).std((1, 2)) / 255


def _among(video: _Video, shown: np.ndarray, method: str) -> EstimatedCameras:
    """Cameras of a video of which only the frames `shown` show anything."""
    blank = "its picture is blank: nothing in it can be found in another"
    if len(shown) < 2:
        reasons = {frame: "all other pictures are blank" if frame in shown else blank for frame in range(len(video))}
        return video.told({}, video.anchor, reasons, False)
    place = int(np.argmin(np.abs(shown - video.anchor)))
    found = _estimated(_Video(video.frames[shown], video.intrinsics[shown], place, video.motions, video.depth, video.advance), method)
    reasons = dict.fromkeys(range(len(video)), blank) | {int(frame): reason for frame, reason in zip(shown, found.reasons, strict=True)}
    poses = {int(shown[index]): found.cameras.camera_to_world[index] for index in np.flatnonzero(found.position_known)}
    confidence = np.zeros(len(video))
    confidence[shown] = found.confidence
    cameras = found.cameras
    return video.told(poses, int(shown[found.anchor]), reasons, cameras.metric, confidence, cameras.convention, found.notes)


def _better(video: _Video) -> EstimatedCameras:
    """The cameras that matches bear out best."""
    matches = video.matches
    small = max(video.frames.shape[1:3]) <= SMALL and video.motions is not None
    found: dict[str, EstimatedCameras] = {}
    notes: list[str] = []

    def settled(least: float) -> bool:
        return any(_share(one, matches) >= least and one.position_known[video.anchor] for one in found.values())

    def by_features() -> None:
        if matches.usual < ENOUGH_MATCHES:
            few = f"neighbouring frames share {matches.usual:.0f} features, it needs {ENOUGH_MATCHES}"
            notes.append(f"structure from motion was not tried: {few}")
            return
        try:
            found["structure from motion"] = video.checked(video.by_features(), matches)
        except ImportError as error:
            notes.append(str(error))

    def by_motions() -> None:
        if video.motions is None:
            notes.append("there is no network of motions between frames here, which may find what features do not")
        else:
            found["the network's motions"] = video.checked(video.by_motions(), matches)

    if small:
        by_motions()
        if not settled(FAIR_SHARE):
            by_features()
    else:
        by_features()
        if not settled(GOOD_SHARE) or not next(iter(found.values())).position_known.all():
            by_motions()
    if not found:
        return video.unplaced("nothing was at hand that could find its camera", *notes)
    shares = {name: _share(estimate, matches) for name, estimate in found.items()}

    def score(name: str) -> tuple[float, float, int]:
        # A path cannot start at an anchor that has no camera. Where no frame has matches, as many frames as possible are placed.
        factor = 1.0 if found[name].position_known[video.anchor] else WITHOUT_ANCHOR
        return factor * shares[name], factor, int(found[name].position_known.sum())

    best = max(found, key=score)
    told = ", ".join(f"{name}: {100 * share:.0f} %" for name, share in shares.items())
    chosen = f"cameras by {best}; matches that bear cameras out: {told}"
    return replace(found[best], notes=(chosen, *notes, *found[best].notes))


def _share(estimate: EstimatedCameras, matches: VideoMatches) -> float:
    return borne_out(matches, estimate.cameras, estimate.position_known)[0]


@dataclass(frozen=True)
class _Video:
    """What is asked about."""

    frames: np.ndarray
    intrinsics: Tensor
    anchor: int
    motions: MotionEstimator | None
    depth: DepthEstimator | None
    advance: Callable[[float], None] = lambda share: None

    def __len__(self) -> int:
        return len(self.frames)

    def unplaced(self, reason: str, *notes: str) -> EstimatedCameras:
        """Cameras of which the anchor's alone is known."""
        return self.told({}, self.anchor, dict.fromkeys(range(len(self)), reason), False, notes=notes)

    def told(
        self, poses: dict[int, Tensor], anchor: int, reasons: dict[int, str], metric: bool, confidence: np.ndarray | None = None,
        convention: str = "estimated from the frames", notes: tuple[str, ...] = (),
    ) -> EstimatedCameras:  # fmt: skip
        """Poses [4, 4] by frame, and why the others are missing, as cameras in the axes of the anchor."""
        count = len(self)
        known = np.array([frame in poses or frame == anchor for frame in range(count)])
        matrices = torch.stack([poses.get(frame, poses.get(anchor, torch.eye(4, dtype=torch.float64))) for frame in range(count)])
        cameras = Cameras(matrices, self.intrinsics, metric=metric, convention=convention).relative_to(anchor)
        texts = tuple("" if known[frame] else reasons[frame] for frame in range(count))
        values = np.zeros(count) if confidence is None else np.where(known, confidence, 0.0)
        return EstimatedCameras(cameras, known, known.copy(), values, texts, anchor, notes)

    # ---- structure from motion ----------------------------------------------------------------------------------

    def by_features(self) -> EstimatedCameras:
        """Cameras by COLMAP, brought to metres by the depth of single pictures."""
        try:
            model = map_pictures(self.frames, VIDEO_FRAMES, self.intrinsics)
        except GeometryError as error:
            return self.unplaced(str(error))
        anchor = self.anchor if self.anchor in model.poses else min(model.poses)
        notes, poses, metric = (), model.poses, False
        if self.depth is not None:
            try:
                by_depth = scale_by_depth(model.seen, self.frames, self.intrinsics, self.depth)
            except GeometryError as error:
                notes = (f"lengths have no unit: {error}",)
            else:
                if by_depth.spread > UNSURE and self.motions is not None:
                    return self.unplaced(f"structure from motion: {by_depth.in_words()}, so that its lengths say nothing")
                scale = MetricScale.joined([by_depth, *self._by_read_motions(poses)])
                notes, metric = (scale.in_words(),), True
                poses = {frame: _scaled(pose, scale.factor) for frame, pose in poses.items()}
        reasons = dict.fromkeys(range(len(self)), "COLMAP did not register the frame")
        return self.told(
            poses, anchor, reasons, metric, np.ones(len(self)), "structure from motion (COLMAP)", notes
        )

    def _by_read_motions(self, poses: dict[int, Tensor]) -> list[MetricScale]:
        """The scale of poses by what the network reads, if it can be told."""
        if self.motions is None:
            return []
        found = self.told(poses, min(poses), dict.fromkeys(range(len(self)), ""), False)
        try:
            return [scale_by_motions(found.cameras, found.position_known, self.read_motions[1])]
        except GeometryError:
            return []

    @cached_property
    def matches(self) -> VideoMatches:
        """What frames share with those shortly after them."""
        return video_matches(self.frames)

    @cached_property
    def read_motions(self) -> tuple[np.ndarray, MeasuredMotions]:
        """Pairs of frames, and what the network reads from them, both ways round."""
        pairs = chosen_pairs(len(self), self.motions.likeness(self.frames, self.intrinsics))
        return pairs, self.motions(self.frames, self.intrinsics, pairs)

    # ---- motions of pairs ---------------------------------------------------------------------------------------

    def by_motions(self) -> EstimatedCameras:
        """Cameras by the network's motions, made to fit the pictures where their depth can be read."""
        self.advance(0.0)
        pairs, rough = self.read_motions
        self.advance(0.5 * MOTIONS_SHARE)
        measured = with_flow(rough, motions_by_flow(self.frames, self.intrinsics, rough), len(self))
        self.advance(MOTIONS_SHARE)
        graph = solve_pose_graph(measured, len(self), self.anchor)
        anchor = self.anchor if graph.members[self.anchor] and graph.members.sum() > 1 else int(np.argmax(graph.members))
        notes: tuple[str, ...] = ()
        placed, poses, confidence = graph.members, graph.poses, graph.agreement
        reasons = {frame: "no pair of pictures leads to the frame: they share too little of what they show" for frame in range(len(self))}
        if placed.sum() > 1:
            try:
                poses, doubtful, confidence, scale = self._aligned(graph, measured, pairs, anchor)
            except GeometryError as error:
                notes = (f"pictures were not aligned: {error}",)
            else:
                notes = (scale.in_words(),)
                for frame in np.flatnonzero(doubtful):
                    reasons[frame] = "its picture fits no other one where the motions of pairs would have it"
                placed = placed & ~doubtful
        found = {int(frame): poses[frame] for frame in np.flatnonzero(placed)}
        convention = f"motions between frames ({self.motions.name}), pictures aligned through their depth"
        return self.told(found, anchor, reasons, True, confidence, convention, notes)

    def _aligned(
        self, graph: PoseGraph, measured: MeasuredMotions, pairs: np.ndarray, anchor: int
    ) -> tuple[Tensor, np.ndarray, np.ndarray, MetricScale]:
        """Poses [N, 4, 4] under which pictures fit, which frames [N] fit nowhere, how surely each is placed [N], and their scale.

        Raises:
            GeometryError: without depth.
        """
        if self.depth is None:
            raise GeometryError("there is no estimator of depth")
        members = np.flatnonzero(graph.members)
        place = np.full(len(self), -1)
        place[members] = np.arange(len(members))
        frames, intrinsics = self.frames[members], self.intrinsics[members]
        kept = measured[graph.members[measured.pairs].all(1)]
        kept = replace(kept, pairs=place[kept.pairs])
        pairs = place[pairs[graph.members[pairs].all(1)]]
        gaps = np.diff(members[pairs], axis=1)[:, 0]
        pairs = pairs[gaps <= max(ALIGNED_GAPS)]
        if not len(pairs):
            raise GeometryError("no two of the frames that belong together are near in time")
        cameras = Cameras(graph.poses[members], intrinsics, metric=True)
        shared = self.matches.most[members]
        found, fits, scale = aligned_video(
            frames, cameras, self.depth, pairs, int(place[anchor]), kept, shared,
            lambda share: self.advance(MOTIONS_SHARE + (1 - MOTIONS_SHARE) * share),
        )  # fmt: skip
        poses = graph.poses.clone()
        poses[members] = _scaled(found.cameras.camera_to_world, scale.factor)
        doubtful, confidence = np.zeros(len(self), bool), np.zeros(len(self))
        # Frames whose pictures fit hang together with the anchor; where none do, the network must be sure of the motion.
        sure = graph.agreement[members] > 0.5
        doubtful[members] = ~fits & ~sure
        doubtful[anchor] = False
        confidence[members] = np.where(fits, 1.0, 0.5 * graph.agreement[members])
        return poses, doubtful, confidence, scale

    # ---- the test -----------------------------------------------------------------------------------------------

    def checked(self, estimate: EstimatedCameras, matches: VideoMatches) -> EstimatedCameras:
        """The cameras without those that the matches of their frames contradict."""
        _, shares = borne_out(matches, estimate.cameras, estimate.position_known)
        wrong = estimate.position_known & (shares < BAD_SHARE)
        wrong[estimate.anchor] = False
        kept = {int(frame): estimate.cameras.camera_to_world[frame] for frame in np.flatnonzero(estimate.position_known & ~wrong)}
        reasons = {
            frame: f"{100 * (1 - shares[frame]):.0f} % of its matches contradict its camera" if wrong[frame] else estimate.reasons[frame]
            for frame in range(len(self))
        }
        confidence = np.where(np.isnan(shares), estimate.confidence, estimate.confidence * np.nan_to_num(shares))
        return self.told(
            kept, estimate.anchor, reasons, estimate.cameras.metric, confidence, estimate.cameras.convention, estimate.notes
        )


def _scaled(poses: Tensor, factor: float) -> Tensor:
    """Poses [..., 4, 4] with longer or shorter ways between them."""
    scaled = poses.clone()
    scaled[..., :3, 3] *= factor
    return scaled


def aligned_video(
    frames: np.ndarray, cameras: Cameras, depth: DepthEstimator, pairs: np.ndarray, anchor: int, motions: MeasuredMotions,
    shared: np.ndarray | None = None, advance: Callable[[float], None] = lambda share: None,
) -> tuple[Alignment, np.ndarray, MetricScale]:  # fmt: skip
    """Align the pictures of a video from about known cameras through depth that is read with them, and again with better ones.

    Depth of several frames says much more than that of single pictures, even from cameras that are some degrees off. Pairs that end up
    misaligned are left out, so that the others and the measured motions decide. Frames that share little with their neighbours in time
    are placed by points of the others, where these know enough of them: over a long way motions are read far too short.

    Args:
        frames: [N, H, W, 3] uint8.
        cameras: N cameras to start from, in metres.
        depth: the estimator, which knows metres.
        pairs: [P, 2] whose pictures overlap.
        anchor: frame whose camera stays.
        motions: measured between the frames.
        shared: [N] matches of each frame with the neighbour in time that it shares most with; by default all share enough.
        advance: is told what share is done, from 0 to 1.

    Returns:
        The alignment, which frames [N] hang together with the anchor by pictures that fit, and the scale that lengths and the depth of
        single pictures say together.

    Raises:
        GeometryError: where no depth can be read.
    """
    small = _small(frames)
    alone = single_depth(small, cameras.intrinsics, depth)

    def align(cameras: Cameras, chosen: np.ndarray, sides: tuple[int, ...], iterations: tuple[int, ...]) -> Alignment:
        maps = depth(small, cameras, list(range(len(small)))).depth
        settings = AlignmentSettings(sides, iterations, **SPREADS)
        return align_pictures(frames, cameras, np.where(maps > 0, maps, alone), pairs[chosen], anchor, motions, settings)

    good = np.ones(len(pairs), bool)
    found = align(cameras, good, (32,), (10,))
    advance(0.2)
    found = align(found.cameras, good, (32, 64), (3, 6))
    advance(0.5)
    again = {} if shared is None else _found_again(frames, found, shared)
    if again:
        matrices = found.cameras.camera_to_world.clone()
        for frame, pose in again.items():
            matrices[frame] = pose
        moved = Cameras(matrices, cameras.intrinsics, metric=True)
        pairs = np.concatenate([pairs[~np.isin(pairs, list(again)).any(1)], _bridges(moved, found.log_depth, list(again))])
        motions = motions[~np.isin(motions.pairs, list(again)).any(1)]
        good = np.ones(len(pairs), bool)
        found = align(moved, good, (32, 64), (6, 6))
    for done in (0.75, 1.0):
        fitting = _fitting(found, pairs[good])
        if fitting.any():
            good[good] = fitting
        found = align(found.cameras, good, (FINEST,), (3,))
        advance(done)
    fitting = _fitting(found, pairs[good])
    good[good] = fitting
    edges = pairs[good]
    _, groups = connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=(len(frames),) * 2), directed=False)
    lengths = MetricScale(1.0, 0.0, ROOM_BY_MOTIONS, f"motions between {len(frames)} frames")
    return found, groups == groups[anchor], MetricScale.joined([lengths, scale_by_depth_maps(alone, np.exp(found.log_depth))])


def _found_again(frames: np.ndarray, found: Alignment, shared: np.ndarray) -> dict[int, Tensor]:
    """Poses [4, 4] of loose frames among the others, for those that enough points of these agree on."""
    loose = shared < LOOSE_SHARE * np.median(shared)
    if not loose.any():
        return {}
    rest, depth = np.flatnonzero(~loose), np.exp(found.log_depth)
    listed = [rest[0], *np.flatnonzero(loose)]
    try:
        placed = cameras_by_points(
            frames[listed], found.cameras.intrinsics[listed], found.cameras[rest[:1]], frames[rest], found.cameras[rest], depth[rest],
            ROUGH,
        )  # fmt: skip
    except GeometryError:  # nothing to match: motions stand
        return {}
    fewest, factor = FOUND_AGAIN
    sure = placed.position_known & (placed.confidence >= np.maximum(fewest, factor * shared[listed]))
    away = _apart(placed.cameras, found.cameras[listed], found.log_depth)
    return {
        int(frame): placed.cameras.camera_to_world[index] for index, frame in enumerate(listed) if sure[index] and away[index] > ELSEWHERE
    }


def _apart(cameras: Cameras, others: Cameras, log_depth: np.ndarray) -> np.ndarray:
    """How far [N] views are from others: ways in usual depths, to which a turn by a right angle adds 1."""
    return cameras.distance_to(others).numpy() / float(np.exp(np.median(log_depth))) + cameras.rotation_to(others).numpy() / 90


def _bridges(cameras: Cameras, log_depth: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Pairs [B, 2] of frames with the others whose views are most like theirs."""
    others = np.setdiff1d(np.arange(len(cameras)), chosen)
    pairs = []
    for frame in chosen:
        nearest = np.argsort(_apart(cameras[others], cameras[frame], log_depth))[:BRIDGES]
        pairs += [sorted((frame, int(other))) for other in others[nearest]]
    return np.array(pairs)


def _small(frames: np.ndarray) -> np.ndarray:
    """Frames of which depth is to be read: in large ones nothing more would be seen of what alignment needs."""
    height, width = frames.shape[1:3]
    scale = READ_SIDE / min(height, width)
    if scale >= 1:
        return frames
    return np.stack([cv2.resize(frame, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA) for frame in frames])


def _fitting(alignment: Alignment, pairs: np.ndarray) -> np.ndarray:
    """Which pairs [P] of an alignment show the same at the same places."""
    first, second = pairs.T
    misfit = np.fmax(alignment.misfit[first, second], alignment.misfit[second, first])
    overlap = np.minimum(alignment.overlap[first, second], alignment.overlap[second, first])
    limit = max(MISFIT, USUAL_MISFITS * float(np.nanmedian(misfit)) if len(misfit) else 0.0)
    return (misfit < limit) & (overlap > LEAST_OVERLAP)
