"""A walk through a simulated scene, as the capture that dataset readers also yield."""

import numpy as np

from video4spatial.captures import Capture
from video4spatial.simulation.renderer import Rendering, render
from video4spatial.simulation.scenes import generate_scene
from video4spatial.simulation.walks import capture_walk


def simulated_capture(
    seed: int,
    num_frames: int,
    height: int,
    width: int,
    frame_rate: float = 4.0,
    supersample: int = 2,
    fov_degrees: float = 75.0,
    walk_seed: int = 0,
) -> Capture:
    """The capture of a walk through the scene of a seed; frames are rendered when they are read.

    Args:
        seed: scene seed, see `scenes.SEED_RANGES`.
        num_frames: length of the walk.
        height, width: picture size in pixels.
        frame_rate: frames per second.
        supersample: anti-aliasing of the colour pictures.
        fov_degrees: horizontal field of view.
        walk_seed: which walk through the scene.

    Raises:
        ValueError: if the seed belongs to no split or a size is below 1.
    """
    scene = generate_scene(seed)
    cameras = capture_walk(scene, num_frames, frame_rate, walk_seed, fov_degrees, aspect=width / height)

    def pictures(indices, supersample: int) -> Rendering:
        return render(scene, cameras[list(map(int, indices))], height, width, supersample)

    return Capture(
        name=f"simulated-{seed:07d}-{walk_seed}",
        frame_count=num_frames,
        height=height,
        width=width,
        times=np.asarray(cameras.times),
        read_frames=lambda indices: pictures(indices, supersample).rgb,
        cameras=cameras,
        read_depth=lambda indices: pictures(indices, 1).depth,
        read_instances=lambda indices: pictures(indices, 1).instance,
        objects=scene.objects,
        up_axis=(0.0, 0.0, 1.0),
        licence="Apache-2.0",
        redistributable=True,
        space=f"rooms-{seed}",
        split=scene.split,
        provenance={
            "source": "simulation",
            "seed": seed,
            "split": scene.split,
            "walk_seed": walk_seed,
            "supersample": supersample,
            "fov_degrees": fov_degrees,
            "frame_rate": frame_rate,
        },
    )
