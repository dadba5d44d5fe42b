"""What the commands say while they work; everything here goes to standard output, errors alone to standard error."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

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


@contextmanager
def stage(description: str) -> Iterator[None]:
    """Show what is being waited for.

    Args:
        description: in words.
    """
    if not console.is_terminal:
        say(f"{description} ...")
        yield
        return
    with console.status(description):
        yield
    say(f"{description}: done")


@contextmanager
def counted(description: str, total: int) -> Iterator:
    """A progress bar.

    Args:
        description: what is counted, in words.
        total: number of steps.

    Yields:
        A function to call after each step.
    """
    if not console.is_terminal:
        say(f"{description} ({total} steps) ...")
        yield lambda: None
        return
    text = TextColumn("{task.description}")
    columns = (SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=total)
        yield lambda: progress.advance(task)


def route_messages() -> None:
    """Let the package's own log lines and warnings appear as notes among the rest."""

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage())

    logger = logging.getLogger("video4spatial")
    if not logger.handlers:
        logger.addHandler(Notes(logging.WARNING))
        logger.propagate = False
    show = warnings.showwarning

    def show_own_as_note(message, category, filename, lineno, file=None, line=None) -> None:
        if PACKAGE in Path(filename).parents and issubclass(category, UserWarning):
            note(str(message))
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = show_own_as_note
