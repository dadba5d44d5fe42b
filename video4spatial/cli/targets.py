"""What `--target`, `--region` and `--detector` name, checked before anything slow, and how its absence ends a command."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from video4spatial.cli.errors import EXIT_NOT_FOUND, UserError, all_mistakes, describe
from video4spatial.cli.terminal import quiet_transformers

if TYPE_CHECKING:
    from video4spatial.clips import Ground, Region
    from video4spatial.clips.footage import Footage
    from video4spatial.grounding.detectors import Detector


@dataclass(frozen=True)
class Target:
    """What to look for.

    Args:
        words: or None.
        region: on a frame of the video as it is given, or None.
        detector: or None.
        samples: draws of the region.
        given: as it was written, for titles.
    """

    words: str | None
    region: Region | None
    detector: Detector | None
    samples: int
    given: str

    @property
    def marked(self) -> tuple[int, ...]:
        """Frames of the video on which it is marked."""
        return () if self.region is None else (self.region.frame,)

    def within(self, footage: Footage) -> Ground:
        """The instruction for the frames of the footage that are used.

        Args:
            footage: of the video.

        Raises:
            ValueError: for a region that does not fit the video.
        """
        from video4spatial.clips import Ground

        return Ground(self.words, None if self.region is None else footage.region(self.region))


def read_target(options: Namespace) -> Target:
    """The target of `add_target_options`.

    Args:
        options: as they were read.

    Raises:
        UserError: naming every problem.
    """
    if not (options.target or "").strip() and options.region is None:
        raise UserError("nothing to look for: give --region frame=12,box=0.4,0.3,0.6,0.8, or --target 'red chair' with --detector FOLDER")
    from video4spatial.clips import parse_region
    from video4spatial.grounding.detectors import Detector
    from video4spatial.grounding.phrases import parse_phrase

    regions, detectors = [], []

    def words() -> None:
        if options.target is not None:
            parse_phrase(options.target)
            if options.region is None and options.detector is None:
                raise ValueError(
                    f"`target` {options.target!r} needs something that reads words: mark the object on a frame with `region` "
                    "frame=12,box=0.4,0.3,0.6,0.8, or add `detector` with the folder of an OWLv2, Grounding DINO or CLIPSeg model"
                )

    def region() -> None:
        if options.region is not None:
            regions.append(parse_region(options.region))

    def detector() -> None:
        if options.detector is None:
            return
        if options.target is None:
            raise ValueError(f"`detector` {options.detector} finds words: add `target`, or leave it out")
        quiet_transformers()
        detectors.append(Detector.from_folder(options.detector, options.detector_threshold))

    all_mistakes((words, region, detector))
    given = " ".join(filter(None, (options.target, options.region)))
    return Target(options.target, next(iter(regions), None), next(iter(detectors), None), options.samples, given)


@contextmanager
def absence() -> Iterator[None]:
    """Around a search: what is not there ends the command with words and an exit code of its own; mistakes as ever.

    Raises:
        UserError: in place of `NotFound` and the user's mistakes.
    """
    from video4spatial.grounding import NotFound

    try:
        yield
    except NotFound as error:
        raise UserError(f"not found: {describe(error)}", EXIT_NOT_FOUND) from error
    except (ValueError, OSError) as error:
        raise UserError(describe(error)) from error
