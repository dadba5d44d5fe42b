"""Users' mistakes become one line and exit code 2, here and nowhere else; bugs keep their traceback."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """Something the user can put right; the message is all they need to see."""


@contextmanager
def user_mistakes() -> Iterator[None]:
    """Around code that checks or reads what the user gave: its ValueError and OSError are the user's to put right.

    Outside such a block both count as bugs.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        raise UserError(describe(error)) from error


def describe(error: Exception) -> str:
    """An error as one line."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    joined = ""
    for line in lines:
        joined += (" " if joined.endswith((":", ".", ",")) else "; " if joined else "") + line
    return joined or type(error).__name__


def exit_code(command: Callable[[list[str]], None], arguments: list[str]) -> int:
    """Run a command and say how it ended: 0, 2 after a user's mistake (told in one line), 130 when interrupted."""
    try:
        command(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
