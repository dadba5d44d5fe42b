"""What is wrong with an input: hypothesis draws bytes and words that are lost, doubled or replaced, and values of other types and sizes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

TOKENS = [
    "nan", "inf", "-inf", "1e400", "-1", "0", "", "999999999999999999999", "1e-320", "0x10", "null", "true", "[]", "{}", "..", "/",
    "../../../etc/passwd", "é", "\x00", "﻿", "<script>", "!!python/object/apply:os.system ['true']", "%s", "1,5", "٣",
]  # fmt: skip
VALUES = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -0.5, 1e308, 1e-320, float("nan"), float("inf"), "", "x", "nan", "\x00", [],
    [[]], [1, 2, 3], [None], {}, {"x": 1}, [[0.0] * 4] * 4, [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]], "../../x", "x" * 300,
]  # fmt: skip


def damaged_bytes(base: bytes) -> st.SearchStrategy[bytes]:
    """Bytes with one to four things wrong."""
    place = st.one_of(st.integers(0, len(base)), st.integers(0, min(len(base), 256)), st.integers(max(0, len(base) - 256), len(base)))
    change = st.tuples(
        st.sampled_from(["flip", "cut", "lose", "double", "insert", "zero", "ones"]), place, st.integers(1, 64), st.binary(max_size=8)
    )

    def apply(changes: list[tuple]) -> bytes:
        data = bytearray(base)
        for what, at, count, new in changes:
            if what == "flip" and at < len(data):
                data[at] ^= 1 << (count % 8)
            elif what == "cut":
                del data[at:]
            elif what == "lose":
                del data[at : at + count]
            elif what == "double":
                data[at:at] = data[at : at + count]
            elif what == "insert":
                data[at:at] = new
            elif what in ("zero", "ones"):
                data[at : at + count] = (b"\0" if what == "zero" else b"\xff") * len(data[at : at + count])
        return bytes(data)

    return st.lists(change, min_size=1, max_size=4).map(apply)


def damaged_words(base: str) -> st.SearchStrategy[bytes]:
    """A text with one to four words or lines lost, doubled, swapped or replaced."""
    lines = [line.split(" ") for line in base.split("\n")]
    place = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))
    change = st.tuples(st.sampled_from(["word", "lose", "double", "line", "lines", "swap", "blank"]), place, st.sampled_from(TOKENS))

    def apply(changes: list[tuple]) -> bytes:
        rows = [list(row) for row in lines]
        for what, (at, column), token in changes:
            if not rows:
                break
            row = rows[at % len(rows)]
            if what == "word":
                row[column % len(row)] = token
            elif what == "lose" and len(row) > 1:
                del row[column % len(row)]
            elif what == "double":
                row.insert(column % len(row), row[column % len(row)])
            elif what == "line":
                del rows[at % len(rows)]
            elif what == "lines":
                rows.insert(at % len(rows), list(row))
            elif what == "swap":
                other = column % len(rows)
                rows[at % len(rows)], rows[other] = rows[other], row
            elif what == "blank":
                rows.insert(at % len(rows), [token])
        return "\n".join(" ".join(row) for row in rows).encode("utf-8", "surrogatepass")

    return st.lists(change, min_size=1, max_size=4).map(apply)


def damaged_values(base: Any, dump: Callable[[Any], str] = json.dumps) -> st.SearchStrategy[bytes]:
    """A tree of values, of which one to three are lost, doubled or replaced by others."""
    change = st.tuples(st.sampled_from(["value", "value", "lose", "double", "key"]), st.integers(0, 10**6), st.sampled_from(VALUES))

    def apply(changes: list[tuple]) -> bytes:
        tree = json.loads(json.dumps(base))
        for what, at, value in changes:
            places = list(_places(tree))
            if not places:
                break
            holder, key = places[at % len(places)]
            if what == "value":
                holder[key] = value
            elif what == "lose":
                del holder[key]
            elif what == "double" and isinstance(holder, list):
                holder.insert(key, holder[key])
            elif what == "key" and isinstance(holder, dict):
                holder[str(value)[:40] if value is not None else "x"] = holder.pop(key)
        return dump(tree).encode("utf-8", "surrogatepass")

    return st.lists(change, min_size=1, max_size=3).map(apply)


def _places(tree: Any):
    """Every (holder, key) of a tree; of long lists the first few and the last."""
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    for key, value in items if len(items) < 12 else [*items[:6], *items[-2:]]:
        yield tree, key
        yield from _places(value)


def damaged_text(base: str) -> st.SearchStrategy[bytes]:
    """A text file with wrong words or wrong bytes."""
    return st.one_of(damaged_words(base), damaged_words(base), damaged_bytes(base.encode()))


def damaged_json(base: Any) -> st.SearchStrategy[bytes]:
    """A JSON file with wrong values, words or bytes."""
    text = json.dumps(base, indent=1)
    deep = st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, text.encode()[:-1], b"\xff\xfe" + text.encode("utf-16-le")])
    return st.one_of(damaged_values(base), damaged_values(base), damaged_words(text), damaged_bytes(text.encode()), deep)


def damaged_file(name: str, data: bytes) -> st.SearchStrategy[bytes]:
    """What a file holds, damaged as its kind allows."""
    if name.endswith((".npy", ".npz")):
        return st.one_of(damaged_bytes(data), _damaged_arrays(data))
    if data.lstrip()[:1] in (b"{", b"["):
        return damaged_json(json.loads(data))
    return damaged_text(data.decode()) if b"\0" not in data else damaged_bytes(data)


def _damaged_arrays(data: bytes) -> st.SearchStrategy[bytes]:
    """One array or an archive of them, of which one is of another shape, type or value, or missing."""
    read = np.load(io.BytesIO(data))
    alone = isinstance(read, np.ndarray)
    arrays = {"alone": read} if alone else dict(read)
    change = st.tuples(
        st.sampled_from(sorted(arrays)), st.sampled_from(["drop", "nan", "shape", "type", "object", "short", "huge", "zero"])
    )

    def apply(drawn: tuple[str, str]) -> bytes:
        name, what = drawn
        changed = dict(arrays)
        array = np.asarray(changed.pop(name))
        if what == "nan" and array.dtype.kind == "f":
            array = np.full_like(array, np.nan)
        elif what == "shape":
            array = array.reshape(-1)
        elif what == "type":
            array = array.astype(str)
        elif what == "object":
            array = np.array([{"a": 1}] * 2, dtype=object)
        elif what == "short":
            array = array[:1] if array.ndim else array
        elif what == "huge" and array.dtype.kind == "f":
            array = array * 1e300
        elif what == "zero" and array.dtype.kind == "f":
            array = array * 0
        buffer = io.BytesIO()
        if what != "drop":
            changed[name] = array
        if alone and changed:
            np.save(buffer, array)
        else:
            np.savez(buffer, **changed)
        return buffer.getvalue()

    return change.map(apply)


def damaged_yaml(path: Path) -> st.SearchStrategy[bytes]:
    import yaml

    text = "\n".join(line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#"))

    def dump(tree: Any) -> str:
        return yaml.safe_dump(tree, allow_unicode=True)

    return st.one_of(damaged_values(yaml.safe_load(text), dump), damaged_words(text), damaged_bytes(text.encode()))


def damaged_safetensors(data: bytes) -> st.SearchStrategy[bytes]:
    """A safetensors file with wrong bytes, or with wrong values in its header."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])

    def joined(text: bytes) -> bytes:
        return len(text).to_bytes(8, "little") + text + data[8 + length :]

    return st.one_of(damaged_bytes(data), damaged_values(header).map(joined))
