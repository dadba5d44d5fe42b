"""Names: their order, how other systems spell them, and the closest known one to a name that is not known."""

import difflib
import re
import unicodedata
from collections.abc import Iterable


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """What names are sorted by, so that numbers in them count by value (2 before 10) and upper and lower case alike.

    Args:
        name: of a file, or a path.
    """
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"([0-9]+)", name.lower()) if part]


def spelled_alike(name: str) -> str:
    """A name in one spelling: other systems write \\ for /, other case, and accents as signs of their own (NFD).

    Args:
        name: of a file, or a path.
    """
    parts = [part for part in unicodedata.normalize("NFC", name.replace("\\", "/")).casefold().split("/") if part not in ("", ".")]
    return "/".join(parts)


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few of many names, for a sentence: "a, b, c and 5 more".

    Args:
        names: in order.
        most: how many are written out.
    """
    names = list(names)
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


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
