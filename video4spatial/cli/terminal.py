"""What the commands say while they work, and loading of models, which says what takes long and nothing else.

Everything here goes to standard output, errors alone to standard error.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from video4spatial import waits
from video4spatial.cli.errors import in_flags
from video4spatial.pretrained import ModelFolder

if TYPE_CHECKING:
    from video4spatial.pipelines import Video4SpatialPipeline
    from video4spatial.pipelines.loading import LoadingSettings

PACKAGE = Path(__file__).parents[1]

console = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A line for the user.

    Args:
        text: of it.
    """
    console.print(text, markup=False)


def note(text: str) -> None:
    """A choice that was made for the user, or something to know about the result.

    Args:
        text: one sentence.
    """
    say(f"note: {text}")


class _Steps:
    """What a stage is told: its steps, and how far the present one is."""

    def __init__(self, show: Callable[[str], None], between: float):
        self.show, self.between, self.step, self.began, self.next = show, between, "", 0.0, 0.0

    def __call__(self, step: str, share: float | None = None) -> None:
        now = time.monotonic()
        if step != self.step:
            self.show(step)
        if step != self.step or share == 0:
            self.step, self.began, self.next = step, now, now + min(waits.SOON, self.between)
        elif share and now >= self.next:
            self.next = now + self.between
            self.show(f"{step}, about {waits.in_words((now - self.began) * (1 - share) / share)} left")


@contextmanager
def stage(description: str) -> Iterator[waits.Told]:
    """Show what is being waited for, and how long it took if that was long.

    Args:
        description: in words.

    Yields:
        What to tell of the steps that it has, in words that go behind the description, and what share of them is done.
    """
    started = time.monotonic()
    if console.is_terminal:
        with console.status(description) as status:
            yield _Steps(lambda step: status.update(f"{description}: {step}"), 1.0)
    else:
        say(f"{description} ...")
        yield _Steps(lambda step: say(f"{description}: {step} ..."), waits.SECONDS_BETWEEN_LINES)
    took = time.monotonic() - started
    if console.is_terminal or took >= waits.SOON:
        say(f"{description}: done" + (f" in {waits.in_words(took)}" if took >= waits.SOON else ""))


@contextmanager
def counted(description: str, total: int) -> Iterator:
    """A progress bar.

    Args:
        description: what is counted, in words.
        total: number of steps.

    Yields:
        A function to call after each step.
    """
    with waits.counted(description, total, say) as wait:
        yield wait.advance


def route_messages(**flags: str) -> None:
    """Let the package's own log lines and warnings appear as notes among the rest, with flags for arguments.

    Args:
        **flags: as for `in_flags`.
    """

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(in_flags(record.getMessage(), **flags))

    logger = logging.getLogger("video4spatial")
    if not logger.handlers:
        logger.addHandler(Notes(logging.WARNING))
        logger.propagate = False
    show = warnings.showwarning

    def show_own_as_note(message, category, filename, lineno, file=None, line=None) -> None:
        if PACKAGE in Path(filename).parents and issubclass(category, UserWarning):
            note(in_flags(str(message), **flags))
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = show_own_as_note


def quiet_diffusers() -> None:
    """No progress bar while parts load, no hints to developers."""
    from diffusers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()


def quiet_transformers() -> None:
    """The same of the library transformers, where it is installed."""
    try:
        from transformers.utils.logging import disable_progress_bar, set_verbosity_error
    except ImportError:
        return
    disable_progress_bar()
    set_verbosity_error()


def load_pipeline(folder: ModelFolder, settings: LoadingSettings | None = None) -> Video4SpatialPipeline:
    """The pipeline of a checked model folder, which shows no progress of its own.

    Args:
        folder: of the model.
        settings: where and how it computes; None for the defaults of `LoadingSettings`.

    Raises:
        ValueError: for a device or an attention back end that this machine does not have.
    """
    size = sum(path.stat().st_size for path in folder.path.rglob("*.safetensors"))
    with stage(f"loading the model ({waits.size_in_words(size)})"):
        # Imported here: commands must answer --help and mistakes before the seconds that this takes.
        from video4spatial.pipelines import loading

        quiet_diffusers()
        settings = settings or loading.LoadingSettings()
        pipeline = loading.load_pipeline(folder, settings)
        pipeline.set_progress_bar_config(disable=True)
    if settings.compile:
        note("the transformer is compiled while it is first used: the first steps take much longer than the others.")
    return pipeline
