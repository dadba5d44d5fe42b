import pytest

from video4spatial.memory import NotEnoughMemory, check_memory, free_bytes, in_gigabytes


def test_what_fits_is_said_and_what_does_not_is_refused():
    assert free_bytes() > 0
    assert check_memory(10**6, "a small thing", "none").startswith("a small thing will need about 0.001 GB of memory; ")
    with pytest.raises(NotEnoughMemory, match=r"about 1,000,000 GB of memory, and .* GB are free on cpu: make it smaller\."):
        check_memory(10**15, "a batch", "make it smaller")


@pytest.mark.parametrize("amount, words", [(1.234e9, "1.2 GB"), (85.4e9, "85 GB"), (1.5e13, "15,000 GB")])
def test_amounts_in_words(amount, words):
    assert in_gigabytes(amount) == words
