"""Positions spread evenly over a sequence: the choice of some of its frames, views or windows."""

from __future__ import annotations

import numpy as np


def thinned(total: int, most: int) -> list[int]:
    """Up to so many positions of a sequence, evenly spread from the first to the last.

    Args:
        total: length of the sequence.
        most: how many to choose; a shorter sequence is taken whole; a single one is the first.

    Returns:
        Ascending positions.
    """
    return np.linspace(0, total - 1, min(most, total)).round().astype(int).tolist()


def evenly_spread(total: int, count: int, anchor: int) -> list[int]:
    """Positions of `count` of `total` frames, evenly spread from the first to the last, with the anchor among them.

    Args:
        total: number of frames to choose from.
        count: how many to choose, from 1 (the anchor alone) to `total`.
        anchor: position that must be among them; the choice nearest to it gives way.

    Returns:
        Ascending positions.

    Raises:
        ValueError: for a count or an anchor out of range.
    """
    if not 1 <= count <= total or not 0 <= anchor < total:
        raise ValueError(f"cannot choose {count} of {total} frames with frame {anchor} among them.")
    if count == 1:
        return [anchor]
    chosen = np.array(thinned(total, count))
    if anchor not in chosen:
        chosen[np.abs(chosen - anchor).argmin()] = anchor
    return sorted(chosen.tolist())
