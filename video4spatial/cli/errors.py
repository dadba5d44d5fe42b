"""Users' mistakes become one line and exit code 2, here and nowhere else; bugs keep their traceback."""

import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

EXIT_MISTAKE = 2
EXIT_NOT_FOUND = 3
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_TERMINATED = 128 + signal.SIGTERM

FLAGS = {"image_rate": "--fps", "fov_degrees": "--fov", "num_inference_steps": "--steps", "plan_options.pool": "--plan-pool"}
"""Flags of the arguments that are not named alike."""


DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space left, no quota left, larger than files may be."""
OURS = ("video4spatial", "data_curation")
SETUP = "`make demo` sets up .venv once, and `source .venv/bin/activate` enters it in each new shell"


class UserError(Exception):
    """Something the user can put right; the message is all they need to see.

    Args:
        message: one line.
        code: exit code of the command.
    """

    def __init__(self, message: str, code: int = EXIT_MISTAKE):
        super().__init__(message)
        self.code = code


class Stopped(BaseException):
    """A signal ended the command; the message says what was left.

    Args:
        message: one line.
        code: exit code of the command.
    """

    def __init__(self, message: str, code: int = EXIT_TERMINATED):
        super().__init__(message)
        self.code = code


@contextmanager
def user_mistakes(**flags: str) -> Iterator[None]:
    """Around code that checks or reads what the user gave: its ValueError and OSError are the user's to put right.

    Outside such a block both count as bugs.

    Args:
        **flags: of arguments that this command calls by another name, see `in_flags`.

    Raises:
        UserError: in place of these, in one line, and with flags for arguments.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        raise UserError(describe(error, **flags)) from error


def all_mistakes(checks: Iterable[Callable[[], object]], **flags: str) -> None:
    """Run checks, and tell everything that is wrong at once.

    Args:
        checks: called one after another.
        **flags: as for `user_mistakes`.

    Raises:
        UserError: naming every problem.
    """
    problems = []
    for check in checks:
        try:
            check()
        except (ValueError, OSError) as error:
            problems.append(describe(error, **flags).rstrip("."))
    if problems:
        raise UserError("; ".join(problems))


def in_flags(text: str, **flags: str) -> str:
    """A sentence of the library, which names arguments in backquotes, with the flags of the command line in their place.

    Args:
        text: such as "`plan` needs `plan_budget`".
        **flags: of arguments that a command calls by another name; else underscores and dots become dashes.
    """
    known = FLAGS | flags
    return re.sub(r"`([a-z_.]+)`", lambda match: known.get(match[1], "--" + re.sub("[_.]", "-", match[1])), text)


def describe(error: Exception, **flags: str) -> str:
    """An error as one line, with flags for arguments.

    Args:
        error: any.
        **flags: as for `in_flags`.
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    joined = ""
    for line in lines:
        joined += (" " if joined.endswith((":", ".", ",")) else "; " if joined else "") + line
    return in_flags(joined, **flags) or type(error).__name__


def exit_code(command: Callable[[list[str]], None], arguments: list[str]) -> int:
    """Run a command and say how it ended. SIGTERM ends it as Ctrl-C does: what was written aside is removed.

    Args:
        command: the function.
        arguments: it is called with.

    Returns:
        0, 2 after a user's mistake, on a full disk or in a Python without the packages (told in one line), 3 where what was looked for is
        not there, 130 when interrupted, 143 when terminated.
    """
    try:
        _stop_on_sigterm()
        command(arguments)
    except UserError as error:
        print(f"error: {error}" if error.code == EXIT_MISTAKE else error, file=sys.stderr)
        return error.code
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in OURS:
            raise
        print(f"error: {error.name} is not installed for {sys.executable}: {SETUP}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return stopped.code
    except Exception as error:
        refused = refused_by_disk(error)
        if refused is None:
            raise
        print(f"error: {refused}: make room and run this again; nothing unfinished was left", file=sys.stderr)
        return EXIT_MISTAKE
    return 0


def _stop_on_sigterm() -> None:
    """Let SIGTERM end this process like an exception; processes that are forked off it end at once, as ever."""
    owner = os.getpid()

    def stop(number: int, frame) -> None:
        if os.getpid() == owner:
            raise Stopped("terminated")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)


def refused_by_disk(error: BaseException | None) -> str | None:
    """What a full disk said, in whatever error it ended.

    Args:
        error: that ended a command.

    Returns:
        One line; None where it was none.
    """
    while error is not None:
        # Libraries that write by themselves tell it in their own errors, by these words of the system.
        words = [os.strerror(number) for number in DISK_ERRORS]
        if isinstance(error, OSError) and error.errno in DISK_ERRORS or any(word in str(error) for word in words):
            return describe(error)
        error = error.__cause__ or error.__context__
    return None
