"""What a training makes once and keeps: its size is told before it is made."""

import shutil
from pathlib import Path

from video4spatial.waits import say, size_in_words


def announce(path: Path, what: str, size: float) -> None:
    """Say what is about to be made and kept, and see whether there is room for it.

    Args:
        path: of the file, or of the folder.
        what: is made, in words.
        size: of it in bytes.

    Raises:
        OSError: where less is free.
    """
    existing = next(parent for parent in Path(path).absolute().parents if parent.exists())
    free = shutil.disk_usage(existing).free
    if size > free:
        raise OSError(f"{path}: {what} takes {size_in_words(size)}, and {size_in_words(free)} are free there: keep it in another place.")
    say(f"made once and kept: {what}, about {size_in_words(size)} in {path}")
