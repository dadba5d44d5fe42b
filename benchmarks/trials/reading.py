"""Inputs read in processes with a limit on time and memory, and what became of each."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

from video4spatial.cli.errors import UserError, describe

from .inputs import Hang, Kind, PartialOutput, RightRefused, SilentChange
from .kinds import KINDS

SECONDS, BYTES = 20.0, 2 * 2**30
"""A case that takes longer hangs; one that needs more memory than this beside what was there before has too much."""

OUTCOMES = ("right", "clear_error", "unclear_error", "traceback", "hang", "memory", "partial_output", "silent_change")
UNWANTED = ("unclear_error", "traceback", "hang", "memory", "partial_output", "silent_change")


def outcome_of(kind: Kind, drawn: Any) -> tuple[str, str]:
    """What becomes of one input, and in which words.

    Args:
        kind: of the input.
        drawn: the input.
    """
    try:
        kind.use(drawn)
        return "right", ""
    except (SilentChange, PartialOutput, RightRefused, Hang) as found:
        names = {SilentChange: "silent_change", PartialOutput: "partial_output", RightRefused: "unclear_error", Hang: "hang"}
        return names[type(found)], str(found)
    except MemoryError as error:
        return "memory", str(error)
    except (ValueError, OSError, UserError) as error:
        told = describe(error)
        clear = kind.names in told and "\n" not in told and 0 < len(told) < 1500
        return "clear_error" if clear else "unclear_error", f"{type(error).__name__}: {told}"
    except Exception as error:
        too_much = "memory" in str(error).lower() and "alloc" in str(error).lower()
        return "memory" if too_much else "traceback", f"{type(error).__name__}: {error}"


def run_cases(name: str, count: int, first_seed: int, folder: Path, report: Callable[[str, str, Any], None]) -> None:
    """Draw and read inputs of a kind.

    Args:
        name: of the kind.
        count: of the inputs.
        first_seed: of the drawing.
        folder: to work in; it is empty.
        report: called before each input with ("begin", "", input), and with (outcome, words, input) afterwards.
    """
    kind = KINDS[name][0](folder)
    left, number = count, first_seed

    def case(drawn: Any) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            report("begin", "", drawn)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outcome, words = outcome_of(kind, drawn)
            report(outcome, words, drawn)

    quiet = settings(
        max_examples=count, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    while left > 0:
        seed(number)(quiet(given(kind.strategy)(case)))()
        number += 1


def _alarm(number: int, frame: object) -> None:
    raise Hang(f"over {SECONDS:g} s")


def _work(name: str, count: int, first_seed: int, folder: str, pipe: Any) -> None:
    """A process that reads inputs of a kind under limits."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _alarm)
    limited = False

    def report(outcome: str, words: str, drawn: Any) -> None:
        nonlocal limited
        if not limited:
            size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + BYTES, size + BYTES))
            limited = True
        signal.setitimer(signal.ITIMER_REAL, SECONDS if outcome == "begin" else 0)
        pipe.send((outcome, words, drawn if outcome == "begin" else None))

    os.chdir(folder)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    run_cases(name, count, first_seed, Path(folder), report)


def run_kind(name: str, count: int, first_seed: int, keep: Path | None, advance: Callable[[], None]) -> tuple[Counter, list[str]]:
    """Read inputs of a kind in processes that may hang or die.

    Args:
        name: of the kind.
        count: of the inputs.
        first_seed: of the drawing.
        keep: folder for inputs with unwanted outcomes, or None.
        advance: called after each.

    Returns:
        How often each outcome came, and the words of unwanted ones.
    """
    outcomes, found = Counter(), []
    # Forked: what takes seconds to load is loaded already.
    context = multiprocessing.get_context("fork")
    while (left := count - outcomes.total()) > 0:
        with tempfile.TemporaryDirectory() as folder:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(name, left, first_seed + outcomes.total(), folder, sender))
            process.start()
            sender.close()
            drawn, begun = None, False
            try:
                while receiver.poll(1.5 * SECONDS if begun else 600):
                    outcome, words, sent = receiver.recv()
                    if outcome == "begin":
                        drawn, begun = sent, True
                        continue
                    _count(outcomes, found, keep, name, outcome, words, drawn)
                    begun = False
                    advance()
                outcome, words = ("hang", "does not answer") if begun else ("", "")
            except EOFError:
                process.join()
                outcome, words = ("traceback", f"the process died ({process.exitcode})") if begun else ("", "")
            if outcome:
                _count(outcomes, found, keep, name, outcome, words, drawn)
                advance()
            elif outcomes.total() == 0:
                raise RuntimeError(f"{name}: its process ended with {process.exitcode} before the first input")
            process.kill()
            process.join()
    return outcomes, found


def _count(outcomes: Counter, found: list[str], keep: Path | None, name: str, outcome: str, words: str, drawn: Any) -> None:
    outcomes[outcome] += 1
    if outcome not in UNWANTED:
        return
    found.append(f"{outcome}: {words[:300]}")
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        place = keep / f"{name}-{outcome}-{len(found):04d}"
        place.write_bytes(drawn if isinstance(drawn, bytes) else repr(drawn).encode("utf-8", "backslashreplace"))
        place.with_suffix(".txt").write_text(words)
