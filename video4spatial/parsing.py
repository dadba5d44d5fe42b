"""JSON, YAML and arrays that people bring: whatever is wrong with them is a ValueError in one line, and nothing in them is run."""

import io
import json
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Container
from pathlib import Path
from typing import IO, Any

import numpy as np

MOST_BYTES = 2**30
"""Of an array in a file; more is a mistake, or a small file that unfolds without end."""

MOST_DIGITS = 40
"""Of a whole number."""

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def parse_json(text: str | bytes) -> Any:
    """The content of a JSON text.

    Args:
        text: or its bytes, as UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: for anything else, and for values nested too deep.
    """
    try:
        return json.loads(text, parse_int=_whole_number)
    except RecursionError as error:
        raise ValueError("values are nested too deep") from error


def read_object(path: str | Path) -> dict[str, Any]:
    """The content of a JSON file that holds an object.

    Args:
        path: of the file.

    Raises:
        OSError: for a file that cannot be read.
        ValueError: for anything else, without the name of the file.
    """
    try:
        content = parse_json(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object, found {'a list' if isinstance(content, list) else repr(content)[:40]}")
    return content


def parse_yaml(text: str) -> Any:
    """The content of a YAML text. Tags of Python objects are refused.

    Args:
        text: of one document.

    Raises:
        ValueError: for anything else, and for values nested too deep.
    """
    import yaml

    try:
        content = yaml.safe_load(text)
        _refuse_huge_numbers(content)
        return content
    except RecursionError as error:
        raise ValueError("values are nested too deep") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:  # most for tagged scalars
        raise ValueError(" ".join(str(error).split())) from error


def _whole_number(digits: str) -> int:
    """The number of some digits; one that no number of a computer can hold is a mistake."""
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


def _refuse_huge_numbers(content: Any) -> None:
    seen, left = set(), [content]
    while left:
        value = left.pop()
        if isinstance(value, int) and value.bit_length() > 4 * MOST_DIGITS:
            raise ValueError("a whole number of too many digits")
        if isinstance(value, (dict, list)) and id(value) not in seen:
            seen.add(id(value))
            left += [*value, *value.values()] if isinstance(value, dict) else value


def read_array(path: str | Path) -> np.ndarray:
    """The array of a .npy file.

    Args:
        path: of the file.

    Raises:
        OSError: for a file that cannot be read.
        ValueError: for anything but an array of plain values.
    """
    with Path(path).open("rb") as file:
        return _array(file, Path(path).stat().st_size)


def is_archive(path: str | Path) -> bool:
    """Whether a file is a zip archive.

    Args:
        path: of the file.
    """
    try:
        return zipfile.is_zipfile(path)
    except (zipfile.BadZipFile, struct.error):
        return False


def read_arrays(source: str | Path | bytes, names: Container[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of a .npz file.

    Args:
        source: the file, or what it holds.
        names: of the arrays that are wanted; None takes all.

    Raises:
        OSError: for a file that cannot be read.
        ValueError: for anything but arrays of plain values.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            arrays = {}
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if names is None or name in names:
                    with archive.open(entry) as file:
                        arrays[name] = _array(file, entry.file_size)
            return arrays
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error) as error:
        raise ValueError(f"a damaged archive of arrays ({str(error)[:120]})") from error


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """The array in a file of `size` bytes. What its header claims is checked before memory is taken for it."""
    try:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"version {version} of an array file")
        shape, fortran, dtype = _HEADERS[version](file)
        count = math.prod(shape)
        if dtype.hasobject or count * dtype.itemsize > min(size, MOST_BYTES) or min(shape, default=0) < 0:
            raise ValueError(f"an array of {dtype} {list(shape)} in {size} bytes")
        data = file.read(count * dtype.itemsize)
        if len(data) != count * dtype.itemsize:
            raise ValueError("an array that is cut short")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").copy()
    except (TypeError, SyntaxError, tokenize.TokenError, EOFError, OverflowError, UnicodeError, struct.error) as error:
        raise ValueError(f"no array ({error})") from error
