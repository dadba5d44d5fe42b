"""What a clip asks for: to follow a camera path, or to find an object."""

from dataclasses import dataclass

from video4spatial.cameras import Cameras
from video4spatial.clips.regions import Region


@dataclass(frozen=True)
class Navigate:
    """Follow a camera path.

    Args:
        cameras: T target cameras; frame 0 is the anchor's viewpoint. Same world as the context's cameras where those are known.
        prompt: what the video shows, in words, for models that read text; "" says nothing.
    """

    cameras: Cameras
    prompt: str = ""

    @property
    def words(self) -> str:
        """What a model that reads text is told."""
        return self.prompt


@dataclass(frozen=True)
class Ground:
    """Find an object, go there, and end on a view that shows it.

    Args:
        text: the object in words, as an instruction ("go to the lamp").
        region: the object by a box or a mask on a context frame. One of the two is needed; both may be given.

    Raises:
        ValueError: with neither.
    """

    text: str | None = None
    region: Region | None = None

    def __post_init__(self):
        if not (self.text and self.text.strip()) and self.region is None:
            raise ValueError("an object to find needs words or a region: give text, region or both.")

    @property
    def words(self) -> str:
        """What a model that reads text is told; "" where a region alone names the object."""
        return self.text or ""


Instruction = Navigate | Ground
