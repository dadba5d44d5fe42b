"""What pictures say about space. Everything here takes frames and `Cameras`, and knows nothing of clips or models.

Cameras of a video whose frame 0 has a known camera (each returns `EstimatedCameras`, with a reason for every missing frame):

- `pnp`: each frame placed by points of a context whose cameras and depth are known.
- `motion_averaging`: motions between pairs of frames joined to a path; needs no context.
- `structure_from_motion`: all pictures reconstructed together by COLMAP.

What they are made of:

- `features`: SIFT points and their matches.
- `two_views`: fundamental matrices, epipolar distances, and the motion between two frames.
- `estimated_cameras`: `EstimatedCameras`, the form in which cameras are returned, and models laid over known cameras.

Depth and what it allows:

- `scene_geometry`: `SceneGeometry`, what the rest of the house asks: cameras, depth and confidence of frames, rendered into any camera.
- `estimation`: how it is made: depth from an estimator (a `DepthEstimator`), held against each other (`consistency`).
- `plane_sweep`: the estimator without weights (`sweep_kernels`: its compiled part).
- `rendering`: frames with depth seen from other cameras (`surface_kernels`, `blending_kernels`).
- `visibility`: depth maps as points of the world, what other cameras see of them, and pictures warped from them.
- `pieces`: compiled work shared among threads.
"""


class GeometryError(ValueError):
    """Pictures that do not tell what was asked of them; the message says why."""
