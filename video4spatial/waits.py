"""Waits: what is done, how far it is and how long the rest will take, on standard error, with a terminal or without one."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SOON = 2.0
"""Seconds after which, without a terminal, the first line says how long it will take."""

SECONDS_BETWEEN_LINES = 30.0
"""Seconds between the lines after that."""

Item = TypeVar("Item")


class Wait(Protocol):
    """What a wait is told by who works."""

    def advance(self, count: int = 1) -> None:
        """So many more are done."""

    def describe(self, text: str) -> None:
        """What is done now, or how it goes."""


class Told(Protocol):
    """What is told of the steps of something."""

    def __call__(self, step: str, share: float | None = None) -> None:
        """A step in words, as it begins or again while it lasts, and what share of it is done, from 0 to 1; None where nobody knows."""


def not_told(step: str, share: float | None = None) -> None:
    """What is told where nobody listens."""


def say(text: str) -> None:
    """A line about what follows.

    Args:
        text: of it.
    """
    print(text, file=sys.stderr, flush=True)


@contextmanager
def counted(description: str, total: int | None, print_line: Callable[[str], None] = say, shown: bool = True) -> Iterator[Wait]:
    """Show how far something is: a bar on a terminal, else a line at the start, now and then, and at the end of what took long.

    Args:
        description: what is done, in words that go before "(7)" and ": 3 of 7".
        total: steps of it; None where nobody knows.
        print_line: where lines go.
        shown: whether anything is shown.

    Yields:
        What to tell of the steps that are done.
    """
    if shown and sys.stderr.isatty():
        with _bars() as bars:
            bar = _Bar(bars, description, total)
            yield bar
            bar.end()
        return
    lines = _Lines(description, total, print_line if shown else lambda text: None)
    yield lines
    lines.end()


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Go through items and show how far it is, as `counted` does.

    Args:
        items: of which one after another is worked on.
        description: what is done with them.
        total: their number, where `len` does not tell it.
    """
    with counted(description, len(items) if total is None else total) as wait:
        for item in items:
            yield item
            wait.advance()


def in_words(seconds: float) -> str:
    """A time as people say it: 40 s, 3 min, 2.5 h.

    Args:
        seconds: of it.
    """
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5700 else f"{seconds / 3600:.1f} h"


def size_in_words(count: float) -> str:
    """A size as people say it: 40 MB, 2.5 GB.

    Args:
        count: of bytes.
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 0.1):.{0 if count >= 1e7 else 1}f} MB"


_shown: list[Progress] = []
"""The bars on the terminal, if there are any: waits within waits share one display."""


@contextmanager
def _bars() -> Iterator[Progress]:
    if _shown:
        yield _shown[0]
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        _shown.append(bars)
        try:
            yield bars
        finally:
            _shown.clear()


class _Bar:
    def __init__(self, progress: Progress, description: str, total: int | None):
        self.progress, self.description = progress, description
        self.task = progress.add_task(description, total=total)

    def advance(self, count: int = 1) -> None:
        self.progress.advance(self.task, count)

    def describe(self, text: str) -> None:
        self.progress.update(self.task, description=f"{self.description}, {text}")

    def end(self) -> None:
        self.progress.stop_task(self.task)


class _Lines:
    def __init__(self, description: str, total: int | None, print_line: Callable[[str], None]):
        self.description, self.total, self.print_line, self.done, self.state = description, total, print_line, 0, ""
        self.started = time.monotonic()
        self.next = self.started + min(SOON, SECONDS_BETWEEN_LINES)
        print_line(f"{description} ..." if total is None else f"{description} ({total}) ...")

    def advance(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if now < self.next or self.done == 0 or self.done == self.total:
            return
        self.next = now + SECONDS_BETWEEN_LINES
        if self.total is None:
            self.print_line(f"{self.description}: {self.done}{self.state}, after {in_words(now - self.started)}")
            return
        left = (now - self.started) / self.done * (self.total - self.done)
        self.print_line(f"{self.description}: {self.done} of {self.total}{self.state}, about {in_words(left)} left")

    def describe(self, text: str) -> None:
        self.state = f", {text}"

    def end(self) -> None:
        took = time.monotonic() - self.started
        if took >= SOON:
            self.print_line(f"{self.description}: done in {in_words(took)}")
