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

- `plane_sweep`: depth of frames from other frames with known cameras.
- `visibility`: depth maps as points of the world, what other cameras see of them, and pictures warped from them.
- `reconstruct`: all of it in one call: views with depth that agree with each other, rendered into any camera.
"""


class GeometryError(ValueError):
    """Pictures that do not tell what was asked of them; the message says why."""
