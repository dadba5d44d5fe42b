"""Writing aside and renaming: a reader never sees half of a file or folder, and a kill leaves the old one or the new one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEFTOVER = ".part-"
"""How names of unfinished files and folders begin, after which the finished name follows."""
CLUTTER = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Folders that systems put among people's files; the others begin with a dot (.Trashes, ._ files of macOS)."""


def is_clutter(name: str) -> bool:
    """Whether a file or folder is hidden, or one that a system made for itself.

    Args:
        name: without folders.
    """
    return name.startswith(".") or name in CLUTTER


@contextmanager
def written_aside(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file or folder whole or not at all.

    Args:
        path: of the finished file or folder. What stands there stays as it is until the block has ended well, and is then
            replaced. The folder it lies in is made where it is missing.

    Yields:
        A path beside it, with the same ending, that does not exist yet: write the file or make the folder there.

    Raises:
        OSError: where the file or folder cannot be written or put in place.
        FileNotFoundError: if the block wrote nothing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unique = f"{LEFTOVER}{os.getpid()}-{secrets.token_hex(4)}"  # processes of two machines may have one number
    aside = path.with_name(f"{unique}-{path.name}")
    try:
        yield aside
        if path.is_dir() and aside.is_dir():
            old = path.with_name(f"{unique}-old-{path.name}")
            path.rename(old)
            aside.rename(path)
            _remove(old)
        else:
            os.replace(aside, path)
    finally:
        _remove(aside)


def write_whole(path: str | os.PathLike, content: str | bytes) -> Path:
    """Write text (as UTF-8) or bytes to a file, whole or not at all.

    Args:
        path: of the file; the folder it lies in is made where it is missing.
        content: what it holds afterwards.

    Returns:
        `path`.

    Raises:
        OSError: where it cannot be written.
    """
    with written_aside(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(path)


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Remove what killed writers left in a folder; only when none is at work there.

    Args:
        folder: whose own files and folders are looked at, not those of folders in it.
    """
    for leftover in Path(folder).glob(f"{LEFTOVER}*"):
        _remove(leftover)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
