"""Outputs: folders that appear whole or not at all, and files that are known to be writable."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from video4spatial.cli.errors import UserError
from video4spatial.files import written_aside

MARK = "scores.json"
"""Every finished folder about a video holds it; only such folders are ever overwritten."""


@contextmanager
def output_folder(path: str | Path, overwrite: bool = False, mark: str = MARK) -> Iterator[Path]:
    """A folder to write into, put in place under its name once the block ends well, and removed if it does not.

    Args:
        path: name of the finished folder; missing parents are made (and removed again after a failure).
        overwrite: whether the folder of an earlier run may be replaced.
        mark: file by which such a folder is known.

    Yields:
        The folder.

    Raises:
        UserError: if the folder exists and may not be replaced, or cannot be written.
    """
    path = Path(path)
    _check_free(path, overwrite, mark)
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        with ExitStack() as stack:
            try:
                aside = stack.enter_context(written_aside(path))
                aside.mkdir()
            except OSError as error:
                raise UserError(f"cannot write to {path}: {error.strerror}; choose another --output") from error
            yield aside
    finally:
        _remove_empty(made)


def check_file(path: str | Path | None, option: str) -> None:
    """Refuse a file that cannot be written, before any work is done.

    Args:
        path: of the file; None is no file.
        option: that names it.

    Raises:
        ValueError: saying why not.
    """
    if path is None:
        return
    if Path(path).is_dir():
        raise ValueError(f"{option} {path} is a folder: expected the name of a file.")
    existing = next(parent for parent in Path(path).absolute().parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(f"{option} {path}: cannot write in {existing}.")


def _check_free(path: Path, overwrite: bool, mark: str) -> None:
    if not path.name:
        raise UserError(f"--output {str(path)!r}: give the name of a folder")
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise UserError(f"{path} is a file: choose another --output")
    if path.is_dir() and not any(path.iterdir()):
        return
    if not overwrite:
        raise UserError(f"{path} exists and is not empty: choose another --output, or add --overwrite")
    if not (path / mark).is_file():
        raise UserError(f"{path} holds no {mark}, so it is not an earlier result: --overwrite leaves it alone")


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, innermost first, as far as they are empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
