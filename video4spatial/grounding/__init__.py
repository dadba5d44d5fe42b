"""Finding objects in the geometry of a scene, and ways that end before them. Nothing here needs trained weights but the detectors.

- `levelling`: the scene with its third axis up, and where its floor is.
- `boxes`: boxes in space and in pictures.
- `locating`: from a box or a mask on one frame to a box in space, followed through the other frames.
- `detectors`: open-vocabulary detectors from a folder; `phrases`: from words to a box in space with them, relations included.
- `free_space`: where a camera may go: what was seen to be free. `planning`: a way through it that ends on a view of the object.
- `finding`: all of it, one after another.
"""


class NotFound(ValueError):
    """The object is not in the scene, or nothing tells where; the message says why."""
