"""One simulated clip for all tests of this folder."""

import pytest

from video4spatial.clips.simulated import simulated_navigation_clip


@pytest.fixture(scope="session")
def clip():
    return simulated_navigation_clip(2_050_000, num_frames=5, walk_frames=24, context_size=12)


@pytest.fixture(scope="session")
def other_clip():
    return simulated_navigation_clip(2_050_001, num_frames=5, walk_frames=24, context_size=12)
