"""Names that are not known, and the closest ones that are."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the closest known name.

    Args:
        name: as it was given.
        known: the names there are.

    Returns:
        " (did you mean 'x'?)", or "" where nothing is close.
    """
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.55)
    return f" (did you mean {close[0]!r}?)" if close else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not known: "unknown KIND 'NAME'", with a hint at the closest known one.

    Args:
        kind: what the name is of, such as "metric".
        name: as it was given.
        known: the names there are.
    """
    return f"unknown {kind} {name!r}{did_you_mean(name, known)}"
