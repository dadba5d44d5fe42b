"""From a box or a mask on one frame to the object in space, by the depth of the scene, and to where the other frames show it.

1. The marked pixels that are the object: in a box, the near surface in its middle, told from what lies behind by depth, from the floor
   by height, and from what it stands on by colour.
2. They are lifted by their depth. Other frames add the sides that the marked one does not show: surface that lies behind what is
   marked, as seen from the marked frame, before the background, and joined to what is known.
3. The points are projected into every frame. Where depth and colour agree, the frame shows the object; where the frame looks through
   them, it speaks against it. Confidence is how far all frames agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from scipy.ndimage import binary_dilation, label
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from video4spatial.cameras import project_points
from video4spatial.captures import SceneObject
from video4spatial.clips.regions import Region, mask_box
from video4spatial.geometry.rendering import sampled
from video4spatial.geometry.visibility import nearest_points
from video4spatial.grounding import NotFound
from video4spatial.grounding.boxes import fitted_box
from video4spatial.grounding.levelling import LevelScene, surface_points


@dataclass(frozen=True)
class LocatingSettings:
    """How regions are lifted and followed. Distances are shares of the depth at which something is seen, unless said otherwise.

    Args:
        gap: step in depth from pixel to pixel at which a surface ends.
        spread: width, in the logarithm of depth, over which pixels of a box count as one layer.
        layer: share of the heaviest layer's weight that a nearer one must have to be the object.
        on_floor: height above the floor up to which surface is the floor's.
        agreement: difference of depth up to which a frame shows a point.
        colour: root mean square difference of red, green and blue (0 to 1) that halves how well a frame agrees.
        shown: least share of the object's near side that a frame must show to count as a sighting.
        pixels: fewest pixels of a sighting.
        points: most points that stand for the object.
        doubtful: confidence below which the marked frame's own depth is held to be wrong, and that of all frames together is tried.
        warned: confidence below which people are told that it is doubtful.
        refine: side in pixels at which colours tell a box's object from what it stands on; 0 leaves that out.
    """

    gap: float = 0.08
    spread: float = 0.06
    layer: float = 0.3
    on_floor: float = 0.02
    agreement: float = 0.08
    colour: float = 0.2
    shown: float = 0.3
    pixels: int = 4
    points: int = 4000
    doubtful: float = 0.5
    warned: float = 0.4
    refine: int = 160


SETTINGS = LocatingSettings()


@dataclass(frozen=True)
class Located:
    """An object in a scene of N frames.

    Args:
        item: its box in the level world.
        confidence: from 0 to 1, how far the frames agree on it.
        scores: [N] from 0 to 1, how well each frame shows it; 0 where it does not.
        boxes: [N, 4] where: left, top, right and bottom as shares; NaN where it does not.
        masks: [N, h, w] bool at the size of the depth maps.
        points: [P, 3] of its surface.
        words: how it was found, for people.
    """

    item: SceneObject
    confidence: float
    scores: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray
    points: np.ndarray
    words: str = ""

    @property
    def frames(self) -> list[int]:
        """Frames that show it, ascending."""
        return np.flatnonzero(self.scores > 0).tolist()

    @property
    def verdict(self) -> str:
        """How sure it is and why, for people."""
        doubt = " (doubtful: mark the object on a frame that shows it larger or nearer)" if self.confidence < SETTINGS.warned else ""
        return f"confidence {self.confidence:.2f}{doubt}: {self.words}"

    def as_dict(self, numbers: Sequence[int] | None = None) -> dict:
        """JSON-able figures; masks and points are left out.

        Args:
            numbers: [N] what the frames are called; by default their places.
        """
        names = range(len(self.scores)) if numbers is None else numbers
        boxes = [[round(float(value), 4) for value in self.boxes[frame]] for frame in self.frames]
        return {
            "label": self.item.label,
            "confidence": round(self.confidence, 4),
            "center": [round(value, 4) for value in self.item.center],
            "size": [round(value, 4) for value in self.item.size],
            "yaw": round(self.item.yaw, 4),
            "how": self.words,
            "frames": [
                {"frame": names[frame], "score": round(float(self.scores[frame]), 4), "box": box} for frame, box in zip(self.frames, boxes)
            ],
        }


def locate_region(scene: LevelScene, region: Region, label: str = "object", samples: int = 1, seed: int = 0) -> Located:
    """The object that a region marks.

    Args:
        scene: its geometry and its vertical.
        region: on one of its frames.
        label: what the object is called.
        samples: how often a box is drawn anew, slightly off; the share of draws that lead to the same object scales the confidence.
        seed: of these draws.

    Raises:
        ValueError: for a frame outside the scene.
        NotFound: where the geometry does not tell where the marked pixels are.
    """
    if not 0 <= region.frame < len(scene.geometry):
        raise ValueError(f"a region on frame {region.frame} of {len(scene.geometry)}: expected 0 to {len(scene.geometry) - 1}.")
    points = surface_points(scene.geometry, 0.0)
    found = _located(scene, points, region, label)
    if found.confidence < SETTINGS.doubtful:
        scene = _as_others_see(scene, region.frame)
        points = surface_points(scene.geometry, 0.0)
        found = max(found, _located(scene, points, region, label), key=lambda one: one.confidence)
    if samples < 2 or region.mask is not None:
        return found
    others = [_redrawn(scene, points, drawn, label) for drawn in _drawn_again(region, samples - 1, seed)]
    agreeing = 1 + sum(other is not None and same_place(found.item, other.item) for other in others)
    words = f"{found.words}; {agreeing} of {samples} boxes drawn slightly off lead to the same place"
    return replace(found, confidence=found.confidence * agreeing / samples, words=words)


def _as_others_see(scene: LevelScene, frame: int) -> LevelScene:
    """The scene with the depth of a frame as all frames together show it to its camera, where they show anything."""
    geometry = scene.geometry
    shown = geometry.render(geometry.cameras[frame], *geometry.depth.shape[1:], views=0)
    depth, confidence = geometry.depth.copy(), geometry.confidence.copy()
    depth[frame] = np.where(shown.known[0], shown.depth[0], depth[frame])
    confidence[frame] = np.where(shown.known[0], shown.confidence[0], confidence[frame])
    return replace(scene, geometry=replace(geometry, depth=depth, confidence=confidence))


def same_place(first: SceneObject, second: SceneObject) -> bool:
    """Whether two boxes are of one object: the middle of each lies within half the other's diagonal of it."""
    apart = float(np.linalg.norm(np.subtract(first.center, second.center)))
    return apart <= 0.5 * min(float(np.linalg.norm(item.size)) for item in (first, second))


def _drawn_again(region: Region, count: int, seed: int) -> list[Region]:
    """The box of a region, moved at every side by up to a tenth of its size."""
    generator = np.random.default_rng(seed)
    left, top, right, bottom = region.box
    shifts = generator.uniform(-0.1, 0.1, (count, 4)) * np.array([right - left, bottom - top] * 2)
    return [replace(region, box=tuple((np.array(region.box) + shift).clip(0, 1).tolist())) for shift in shifts]


def _redrawn(scene: LevelScene, points: np.ndarray, region: Region, label: str) -> Located | None:
    try:
        return _located(scene, points, region, label)
    except NotFound:
        return None


def _located(scene: LevelScene, points: np.ndarray, region: Region, label: str) -> Located:
    geometry, frame = scene.geometry, region.frame
    if not geometry.placed[frame]:
        raise NotFound(f"the marked frame could not be placed in the scene ({geometry.reasons[frame]}): mark the object on another one.")
    own = object_pixels(scene, points[frame], region)
    if own.sum() < 1:
        raise NotFound("no depth is known where the region is marked: mark the object on a frame that shows it larger or sharper.")
    cloud = _fused(scene, points, frame, own)
    size = points.shape[1:3]
    pictures = _pictures(geometry.frames, *size)
    scores, boxes, masks = _sightings(scene, points, pictures, cloud, frame, own)
    item = fitted_box(cloud, label, least=0.01 * float(np.median(geometry.depth[frame][own])))
    sure = float(geometry.confidence[frame][own].mean())
    others = [index for index in range(len(geometry)) if index != frame and np.isfinite(scores[index])]
    weights = np.array([np.isfinite(boxes[index]).all() for index in others], dtype=float)
    agreement = np.array([scores[index] for index in others])
    # A frame of its own says half of what it says with another that agrees.
    backing = (0.5 + agreement.sum()) / (1 + len(others)) if others else 0.5
    confidence = float(np.clip(sure * backing, 0, 1)) ** 0.5
    scores = np.where(np.isfinite(boxes).all(1), np.nan_to_num(scores), 0.0)
    words = f"marked on one frame, seen in {int(weights.sum())} of the {len(others)} others that look there"
    return Located(item, confidence, scores, boxes, masks, cloud, words)


def object_pixels(scene: LevelScene, points: np.ndarray, region: Region) -> np.ndarray:
    """The pixels of a depth map that show what a region marks.

    Args:
        scene: with the geometry.
        points: [h, w, 3] of the marked frame.
        region: on it.

    Returns:
        [h, w] bool; none where no depth is known.
    """
    depth = scene.geometry.depth[region.frame]
    marked = region.pixels(*depth.shape)
    known = marked & np.isfinite(points[..., 0])
    if not known.any():
        return known
    weight = _middle_weight(region, depth.shape)
    usual = float(np.median(depth[known]))
    if scene.floor is not None:
        # What seems to lie far below the floor is depth gone wrong, not floor.
        margin = SETTINGS.on_floor * usual
        off = known & ((points[..., 2] > scene.floor + margin) | (points[..., 2] < scene.floor - 4 * margin))
        if weight[off].sum() > 0.2 * weight[known].sum():
            known = off
    if region.mask is not None:  # it says what is the object; only pixels that bleed over its outline are left out
        near, far = np.quantile(depth[known], (0.1, 0.75))
        kept = known & (depth >= 0.7 * near) & (depth <= 1.5 * far)
        return kept if kept.any() else known
    layer = known & _near_layer(depth, known, weight)
    joined = _joined(depth, layer, weight)
    return _by_colour(scene.geometry.frames[region.frame], marked, joined)


def _middle_weight(region: Region, size: tuple[int, int]) -> np.ndarray:
    """How much pixels [h, w] count: most in the middle of the region."""
    left, top, right, bottom = region.box
    rows, columns = (np.arange(size[0]) + 0.5) / size[0], (np.arange(size[1]) + 0.5) / size[1]
    across = (columns - (left + right) / 2) / max(right - left, 1e-6)
    along = (rows - (top + bottom) / 2) / max(bottom - top, 1e-6)
    return np.exp(-4 * (across[None] ** 2 + along[:, None] ** 2))


def _near_layer(depth: np.ndarray, known: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Pixels [h, w] of the nearest layer of depth that has enough of the weight."""
    values, weights = np.log(depth[known]), weight[known]
    step = SETTINGS.spread / 3
    grid = np.arange(values.min() - 4 * step, values.max() + 5 * step, step)
    counts = np.histogram(values, np.append(grid, grid[-1] + step), weights=weights)[0]
    density = np.convolve(counts, np.exp(-0.5 * (np.arange(-6, 7) * step / (SETTINGS.spread / 1.5)) ** 2), mode="same")
    inner = (density[1:-1] >= density[:-2]) & (density[1:-1] > density[2:])
    peaks = np.flatnonzero(inner) + 1
    if not len(peaks):
        return known
    # Valleys that are hardly lower than the peaks beside them do not part layers.
    bounds, kept = [0], [peaks[0]]
    for peak in peaks[1:]:
        valley = kept[-1] + int(density[kept[-1] : peak + 1].argmin())
        if density[valley] < 0.5 * min(density[kept[-1]], density[peak]):
            bounds.append(valley)
            kept.append(peak)
        elif density[peak] > density[kept[-1]]:
            kept[-1] = peak
    bounds.append(len(grid))
    masses = np.array([counts[low:high].sum() for low, high in zip(bounds, bounds[1:])])
    chosen = int(np.flatnonzero(masses >= SETTINGS.layer * masses.max())[0])
    low, high = grid[bounds[chosen]], grid[min(bounds[chosen + 1], len(grid) - 1)]
    logs = np.log(np.where(known, depth, 1.0))
    return known & (logs >= low) & (logs <= high)


def _joined(depth: np.ndarray, layer: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The part [h, w] of a layer that hangs together and weighs most, with others that weigh a quarter of it."""
    height, width = depth.shape
    number = np.arange(height * width).reshape(height, width)
    pairs = []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        near = np.abs(depth[one] - depth[other]) <= SETTINGS.gap * np.minimum(depth[one], depth[other])
        joined = layer[one] & layer[other] & near
        pairs.append((number[one][joined], number[other][joined]))
    rows, columns = (np.concatenate(ends) for ends in zip(*pairs))
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(height * width,) * 2)
    part = connected_components(graph, directed=False)[1].reshape(height, width)
    masses = np.bincount(part[layer], weights=weight[layer], minlength=part.max() + 1)
    return layer & (masses[part] >= 0.25 * masses.max())


def _by_colour(frame: np.ndarray, marked: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """The pixels of a joined surface that the colours of frame and box bear out (GrabCut: Rother et al., SIGGRAPH 2004).

    What lies around the box is background; without clear colours the surface stays as it is.
    """
    height, width = marked.shape
    side = SETTINGS.refine
    if not side or joined.sum() < 16 or marked.all():
        return joined
    rows, columns = np.flatnonzero(marked.any(1)), np.flatnonzero(marked.any(0))
    pad = max(2, (rows[-1] - rows[0]) // 3), max(2, (columns[-1] - columns[0]) // 3)
    top, bottom = max(rows[0] - pad[0], 0), min(rows[-1] + pad[0] + 1, height)
    left, right = max(columns[0] - pad[1], 0), min(columns[-1] + pad[1] + 1, width)
    scale = side / max(bottom - top, right - left)
    size = max(8, round((right - left) * scale)), max(8, round((bottom - top) * scale))
    factor = frame.shape[0] / height, frame.shape[1] / width
    cut = frame[int(top * factor[0]) : round(bottom * factor[0]), int(left * factor[1]) : round(right * factor[1])]
    picture = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if cut.shape[0] > size[1] else cv2.INTER_LINEAR)

    def enlarged(mask: np.ndarray) -> np.ndarray:
        return cv2.resize(mask[top:bottom, left:right].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0

    kinds = np.where(enlarged(joined), cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    kinds[~enlarged(marked)] = cv2.GC_BGD
    if not (kinds == cv2.GC_BGD).any():
        return joined
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(picture[..., ::-1]), kinds, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    own = np.isin(kinds, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    own = cv2.resize(own * 255, (right - left, bottom - top), interpolation=cv2.INTER_AREA) > 127
    kept = joined.copy()
    kept[top:bottom, left:right] &= own
    return kept if kept.sum() >= 0.4 * joined.sum() else joined


def _fused(scene: LevelScene, points: np.ndarray, frame: int, own: np.ndarray) -> np.ndarray:
    """Points [P, 3] of the object: those of the marked frame, and those of others that lie behind the same pixels and hang on them."""
    geometry = scene.geometry
    depth, (height, width) = geometry.depth[frame], own.shape
    seeds = points[frame][own]
    usual = float(np.median(depth[own]))
    spacing = usual / (float(geometry.cameras.intrinsics[frame, 0, 0]) * width)
    extent = np.quantile(seeds, 0.95, axis=0) - np.quantile(seeds, 0.05, axis=0)
    # As deep as it is wide, or a quarter of its height.
    reach = max(float(np.linalg.norm(extent[:2])), 0.25 * float(extent[2]), 4 * spacing)
    ring = binary_dilation(own, iterations=max(2, height // 24)) & ~own & (depth > 0)
    behind = depth[ring][depth[ring] > np.quantile(depth[own], 0.9) * (1 + SETTINGS.agreement / 2)]
    if len(behind) > 0.2 * max(ring.sum(), 1):
        reach = min(reach, max(0.97 * float(np.quantile(behind, 0.3)) - usual, 2 * spacing))
    outline = binary_dilation(own)
    # The depth of the object at each pixel of the outline: of the nearest own pixel.
    near_depth = np.where(own, depth, 0)
    spread = cv2.dilate(near_depth.astype(np.float32), np.ones((3, 3), np.uint8))
    near_depth = np.where(own, near_depth, spread)
    others = np.flatnonzero(geometry.placed & (geometry.depth > 0).any((1, 2)))
    others = others[others != frame]
    sure = geometry.confidence[others] >= 0.5
    candidates = points[others][sure & np.isfinite(points[others][..., 0])]
    middle = np.median(seeds, axis=0)
    candidates = candidates[np.linalg.norm(candidates - middle, axis=1) < np.linalg.norm(extent) + reach]
    if len(candidates):
        pixels, along = (v.numpy()[0] for v in project_points(geometry.cameras[frame], torch.from_numpy(candidates), height, width))
        inside = (along > 0) & (pixels >= 0).all(1) & (pixels < (width, height)).all(1)
        column, row = np.where(inside[:, None], pixels, 0).astype(int).T
        surface = near_depth[row, column]
        inside &= outline[row, column] & (along > surface * (1 - SETTINGS.agreement / 2)) & (along < surface + reach)
        if scene.floor is not None:
            inside &= candidates[:, 2] > min(scene.floor + SETTINGS.on_floor * usual, float(np.quantile(seeds[:, 2], 0.1)))
        candidates = candidates[inside]
    everything = np.concatenate([seeds, candidates])
    everything = everything[:: max(1, len(everything) // (3 * SETTINGS.points))] if len(candidates) else seeds
    kept = _hanging_together(everything, len(seeds), max(3 * spacing, 0.06 * float(np.linalg.norm(extent))))
    return kept[:: max(1, -(-len(kept) // SETTINGS.points))]


def _hanging_together(points: np.ndarray, count: int, radius: float) -> np.ndarray:
    """Those of points [P, 3] that are joined by steps of at most `radius`, in the group of most points.

    Args:
        points: in no special order.
        count: of those that are surely the object's.
        radius: longest step.
    """
    if len(points) < 3:
        return points
    cells = np.unique(np.floor(points / (radius / 2)).astype(int), axis=0, return_inverse=True)
    places, cell = cells[0] * (radius / 2), cells[1].ravel()
    pairs = cKDTree(places).query_pairs(radius, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(places),) * 2)
    group = connected_components(graph, directed=False)[1][cell]
    sizes = np.bincount(group)
    return points[sizes[group] >= 0.25 * sizes.max()]


def _pictures(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Frames at the size of the depth maps [N, height, width, 3], from 0 to 1."""
    if frames.shape[1:3] == (height, width):
        return frames / 255
    smaller = frames.shape[1] > height
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=method) for frame in frames]) / 255


def _sightings(
    scene: LevelScene, points: np.ndarray, pictures: np.ndarray, cloud: np.ndarray, marked: int, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How well each frame shows the points of an object, and where.

    Args:
        scene: of N frames.
        points: [N, h, w, 3] of their surface, NaN where unknown.
        pictures: [N, h, w, 3] from 0 to 1.
        cloud: [P, 3] of the object.
        marked: the frame on which it was marked.
        own: [h, w] its pixels there.

    Returns:
        [N] scores, NaN for frames that do not look there; [N, 4] boxes, NaN where it is not seen; [N, h, w] masks.
    """
    geometry, (count, height, width) = scene.geometry, points.shape[:3]
    scores, boxes, masks = np.full(count, np.nan), np.full((count, 4), np.nan), np.zeros((count, height, width), bool)
    colours = _colours_of(cloud, points[marked][own], pictures[marked][own])
    tree = cKDTree(cloud)
    # Coarser than the points, so that they leave no holes through which the far side shows.
    half = max(height // 2, 1), max(width // 2, 1)
    placed = np.flatnonzero(geometry.placed & (geometry.depth > 0).any((1, 2))).tolist()
    index, along = nearest_points(cloud, geometry.cameras[placed], *half)
    usual = float(np.median(np.linalg.norm(points[marked][own] - geometry.cameras.positions[marked].numpy(), axis=1)))
    radius = max(0.04 * usual, 0.08 * float(np.linalg.norm(np.ptp(cloud, axis=0))))
    for place, view in enumerate(placed):
        shown = index[place] >= 0
        seen_depth = sampled(geometry.depth[view][None], *half)[0]
        known = shown & (seen_depth > 0)
        if known.sum() < SETTINGS.pixels:
            continue
        difference = seen_depth[known] / along[place][known] - 1
        agree, through = np.abs(difference) <= SETTINGS.agreement, difference > SETTINGS.agreement
        if agree.sum() + through.sum() < SETTINGS.pixels:
            continue  # hidden: it says nothing
        apart = pictures[view][:: max(1, height // half[0]), :: max(1, width // half[1])][: half[0], : half[1]][known][agree]
        apart = np.sqrt(((apart - colours[index[place][known][agree]]) ** 2).mean(-1)) if agree.any() else np.ones(1)
        alike = 1 / (1 + (float(np.median(apart)) / SETTINGS.colour) ** 2)
        scores[view] = agree.sum() / (agree.sum() + through.sum()) * alike
        if agree.sum() < SETTINGS.shown * known.sum():
            continue
        masks[view] = _mask_of(points[view], tree, radius, cloud)
        boxes[view] = mask_box(masks[view]) or np.nan
    masks[marked] = own
    boxes[marked], scores[marked] = mask_box(own), 1.0
    return scores, boxes, masks


def _colours_of(cloud: np.ndarray, seeds: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Colours [P, 3] of a cloud: those of the nearest points whose colours are known."""
    return colours[cKDTree(seeds).query(cloud)[1]]


def _mask_of(points: np.ndarray, tree: cKDTree, radius: float, cloud: np.ndarray) -> np.ndarray:
    """The pixels [h, w] whose surface lies on a cloud, in the parts that are not mere specks."""
    low, high = cloud.min(0) - radius, cloud.max(0) + radius
    with np.errstate(invalid="ignore"):
        near = ((points >= low) & (points <= high)).all(-1)
    mask = np.zeros(near.shape, bool)
    if near.any():
        mask[near] = tree.query(points[near], distance_upper_bound=radius)[0] < radius
    parts, count = label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())[1:]
    return mask & np.isin(parts, np.flatnonzero(sizes >= 0.2 * sizes.max()) + 1)
