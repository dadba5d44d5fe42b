import pytest

from video4spatial.spread import evenly_spread, thinned


@pytest.mark.parametrize("total, most", [(48, 7), (48, 47), (5, 5), (5, 9), (1, 1), (0, 3), (9, 0)])
def test_thinned_reaches_from_end_to_end_in_even_steps(total, most):
    chosen = thinned(total, most)
    assert len(chosen) == len(set(chosen)) == min(total, most) and chosen == sorted(chosen)
    if len(chosen) > 1:
        steps = [after - before for before, after in zip(chosen, chosen[1:])]
        assert (chosen[0], chosen[-1]) == (0, total - 1) and max(steps) - min(steps) <= 1


def test_the_anchor_takes_the_place_of_the_nearest():
    assert evenly_spread(48, 2, 47) == [0, 47]
    assert evenly_spread(10, 3, 4) == [0, 4, 9]
    assert evenly_spread(10, 3, 8) == [0, 4, 8]
    assert evenly_spread(5, 1, 3) == [3]
    for count, anchor in [(6, 0), (0, 0), (3, 5), (3, -1)]:
        with pytest.raises(ValueError, match=f"cannot choose {count} of 5 frames with frame {anchor}"):
            evenly_spread(5, count, anchor)
