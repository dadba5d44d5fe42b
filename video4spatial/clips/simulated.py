"""Clips made by the simulator, each from a handful of seeds that make it again exactly."""

from dataclasses import replace

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.captures import SceneObject
from video4spatial.clips.clip import Clip
from video4spatial.clips.instruction import Ground, Navigate
from video4spatial.clips.regions import mask_box
from video4spatial.simulation import NoPathError, Scene, approach_target, capture_walk, generate_scene, navigation_target, render
from video4spatial.spread import evenly_spread

FOV_DEGREES = 70.0
"""Horizontal field of view of simulated clips, unless told otherwise."""


def simulated_navigation_cameras(
    scene: Scene,
    walk_seed: int,
    target_seed: int,
    *,
    num_frames: int = 9,
    walk_frames: int = 48,
    context_size: int = 32,
    anchor: int = -1,
    frame_rate: float = 4.0,
    fov_degrees: float = FOV_DEGREES,
    aspect: float = 1.0,
    rotation_range: tuple[float, float] = (20.0, 60.0),
    path_range: tuple[float, float] = (0.3, 1.5),
) -> tuple[Cameras, Cameras, int]:
    """The cameras of a simulated navigation clip, without rendering it.

    Args:
        scene: to walk through.
        aspect: width / height of the pictures.
        walk_seed, target_seed, num_frames, walk_frames, context_size, anchor, frame_rate, fov_degrees, rotation_range, path_range:
            as of `simulated_navigation_clip`.

    Returns:
        Context cameras [context_size] with times, target cameras [num_frames], and the anchor's position in the
        context.

    Raises:
        ValueError: for sizes that do not fit.
        NoPathError: where the scene leaves no room for such a motion.
    """
    if not 1 <= context_size <= walk_frames or not -walk_frames <= anchor < walk_frames:
        raise ValueError(
            f"a walk of {walk_frames} frames has no context of {context_size} frames with frame {anchor}: "
            f"choose a context of 1 to {walk_frames} frames and an anchor among them."
        )
    walk = capture_walk(scene, walk_frames, frame_rate, seed=walk_seed, fov_degrees=fov_degrees, aspect=aspect)
    chosen = evenly_spread(walk_frames, context_size, anchor % walk_frames)
    target = navigation_target(
        scene, walk[anchor], num_frames, frame_rate=frame_rate, seed=target_seed,
        rotation_range=rotation_range, path_range=path_range,
    )  # fmt: skip
    return walk[chosen], target, chosen.index(anchor % walk_frames)


def simulated_navigation_clip(
    scene_seed: int,
    walk_seed: int = 0,
    target_seed: int = 0,
    *,
    height: int = 64,
    width: int = 64,
    supersample: int = 2,
    num_frames: int = 9,
    walk_frames: int = 48,
    context_size: int = 32,
    anchor: int = -1,
    frame_rate: float = 4.0,
    fov_degrees: float = FOV_DEGREES,
    rotation_range: tuple[float, float] = (20.0, 60.0),
    path_range: tuple[float, float] = (0.3, 1.5),
    name: str | None = None,
) -> Clip:
    """A walk through a simulated scene as context, and a new camera path from one of its frames with the true video.

    The same arguments always give the same clip.

    Args:
        scene_seed: which scene; its range says whether it is for training, validation or test.
        walk_seed: which walk.
        target_seed: which target path.
        height, width: of all frames in pixels.
        supersample: rays per pixel side.
        num_frames: target frames, the anchor's own view first.
        walk_frames: frames of the whole walk.
        context_size: how many of them, evenly spread, are the context.
        anchor: frame of the walk the target starts from.
        frame_rate: frames per second of walk and target.
        fov_degrees: horizontal field of view of both.
        rotation_range: least and greatest net rotation of the target in degrees.
        path_range: least and greatest length of the target in metres.
        name: of the clip; default made from the seeds.

    Raises:
        ValueError: for sizes that do not fit.
        NoPathError: where the scene leaves no room for such a motion.
    """
    scene = generate_scene(scene_seed)
    context, target, anchor_position = simulated_navigation_cameras(
        scene, walk_seed, target_seed, num_frames=num_frames, walk_frames=walk_frames, context_size=context_size,
        anchor=anchor, frame_rate=frame_rate, fov_degrees=fov_degrees, aspect=width / height,
        rotation_range=rotation_range, path_range=path_range,
    )  # fmt: skip
    return Clip(
        name=name or f"rooms-{scene_seed}-{walk_seed}-{target_seed}",
        instruction=Navigate(target),
        anchor=anchor_position,
        provenance={
            "source": "simulation", "scene_seed": scene_seed, "walk_seed": walk_seed, "target_seed": target_seed, "height": height,
            "width": width, "supersample": supersample, "num_frames": num_frames, "walk_frames": walk_frames,
            "context_size": context_size, "anchor": anchor, "frame_rate": frame_rate, "fov_degrees": fov_degrees,
            "rotation_range": list(rotation_range), "path_range": list(path_range),
        },
        **_rendered(scene, context, target, height, width, supersample),
    )  # fmt: skip


END_AREA = (0.02, 0.4)
"""Least and greatest share of the last frame that the object of a grounding clip fills."""


def simulated_grounding_clip(
    scene_seed: int,
    walk_seed: int = 0,
    target_seed: int = 0,
    *,
    instance_id: int | None = None,
    height: int = 64,
    width: int = 64,
    supersample: int = 2,
    num_frames: int = 9,
    walk_frames: int = 48,
    context_size: int = 32,
    frame_rate: float = 4.0,
    fov_degrees: float = FOV_DEGREES,
    name: str | None = None,
) -> Clip:
    """A walk through a simulated scene as context, and the way to one of the objects it shows with the true video.

    The last context frame, a second after the walk, is the anchor: the view that the way begins with. The same arguments always
    give the same clip.

    Args:
        scene_seed, walk_seed, target_seed: which scene, which walk, and which way to the object.
        instance_id: the object; by default the first one in an order drawn from the seeds that the context shows in at least two
            frames and that ends well in sight.
        height, width: of all frames in pixels.
        supersample: rays per pixel side.
        num_frames: target frames, the anchor's own view first.
        walk_frames: frames of the whole walk.
        context_size: frames of the context, the anchor among them, the others evenly spread over the walk.
        frame_rate: frames per second of walk and target.
        fov_degrees: horizontal field of view of both.
        name: of the clip; default made from the seeds.

    Raises:
        ValueError: for sizes that do not fit.
        NoPathError: where there is no such object, or no way to it.
    """
    if not 2 <= context_size <= walk_frames + 1:
        raise ValueError(f"a walk of {walk_frames} frames and an anchor have no context of {context_size} frames.")
    scene = generate_scene(scene_seed)
    view = {"fov_degrees": fov_degrees, "aspect": width / height}
    walk = capture_walk(scene, walk_frames, frame_rate, seed=walk_seed, **view)
    walk = walk[evenly_spread(walk_frames, context_size - 1, walk_frames - 1)]
    order = np.random.default_rng([scene_seed, walk_seed, target_seed, 4])
    for item in _shown_objects(scene, walk, order) if instance_id is None else [scene.object(instance_id)]:
        try:
            target = approach_target(scene, item, num_frames, seed=target_seed, frame_rate=frame_rate, **view)
        except NoPathError:
            continue
        seen = render(scene, target, height, width).instance == item.instance_id
        if instance_id is not None or END_AREA[0] <= seen[-1].mean() <= END_AREA[1]:
            break
    else:
        raise NoPathError(f"scene {scene_seed} has no object that walk {walk_seed} shows and that one can walk up to.")
    start = float(walk.times[-1]) + 1.0
    context = Cameras.concatenate([walk, replace(target[0], times=target[0].times + start)])
    return Clip(
        name=name or f"rooms-grounding-{scene_seed}-{walk_seed}-{target_seed}",
        instruction=Ground(f"go to the {item.label}"),
        anchor=context_size - 1,
        target_boxes=np.array([mask_box(mask) or (np.nan,) * 4 for mask in seen], dtype=np.float32),
        target_object=item,
        provenance={
            "source": "simulation", "kind": "grounding", "scene_seed": scene_seed, "walk_seed": walk_seed,
            "target_seed": target_seed, "label": item.label, "instance_id": item.instance_id, "height": height, "width": width,
            "supersample": supersample, "num_frames": num_frames, "walk_frames": walk_frames, "context_size": context_size,
            "frame_rate": frame_rate, "fov_degrees": fov_degrees,
        },
        **_rendered(scene, context, target, height, width, supersample),
    )  # fmt: skip


def _rendered(scene: Scene, context: Cameras, target: Cameras, height: int, width: int, supersample: int) -> dict:
    """What a clip holds of a scene: fields of `Clip`."""
    pictures = render(scene, Cameras.concatenate([context, target]), height, width, supersample=supersample)
    count = len(context)
    return {
        "scene": f"rooms-{scene.seed}",
        "context_frames": pictures.rgb[:count],
        "context_times": context.times.numpy().copy(),
        "context_cameras": context,
        "context_depth": pictures.depth[:count],
        "target_frames": pictures.rgb[count:],
        "target_depth": pictures.depth[count:],
        "target_cameras": target,
    }


def _shown_objects(scene: Scene, walk: Cameras, order: np.random.Generator) -> list[SceneObject]:
    """Objects that at least two frames of a walk show, in a random order."""
    shown = render(scene, walk, 32, 32).instance
    frames_showing = {item.instance_id: ((shown == item.instance_id).mean((1, 2)) > 0.005).sum() for item in scene.objects}
    objects = [scene.objects[place] for place in order.permutation(len(scene.objects))]
    return [item for item in objects if frames_showing[item.instance_id] >= 2]
