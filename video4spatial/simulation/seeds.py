"""Which scene seeds belong to which split."""

SEED_RANGES = {
    "train": range(0, 1_000_000),
    "validation": range(1_000_000, 1_100_000),
    "test": range(2_000_000, 2_100_000),
}


def split_of(seed: int) -> str:
    """Name of the split that a scene belongs to.

    Args:
        seed: of the scene.

    Raises:
        ValueError: if the seed lies in no range of `SEED_RANGES`.
    """
    for name, seeds in SEED_RANGES.items():
        if seed in seeds:
            return name
    ranges = ", ".join(f"{name} {seeds.start}..{seeds.stop - 1}" for name, seeds in SEED_RANGES.items())
    raise ValueError(f"scene seed {seed} belongs to no split; choose one of {ranges}")
