"""Jobs files: what they leave out, and what is wrong with them."""

import pytest

from video4spatial.cli.errors import UserError
from video4spatial.cli.sample_many import Job, read_jobs

DEFAULT = Job(anchor=-1, frames=None, seed=7, prompt="a room")


def test_jobs_take_what_they_leave_out_from_the_default(tmp_path):
    path = tmp_path / "jobs.yaml"
    path.write_text(
        "- {name: in, trajectory: forward 1}\n- {name: a-2.b, trajectory: x.json, anchor: 0, frames: 5, seed: 1, prompt: hm}\n"
    )
    assert read_jobs(path, DEFAULT) == [Job("in", "forward 1", -1, None, 7, "a room"), Job("a-2.b", "x.json", 0, 5, 1, "hm")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: in", "expected a list of jobs"),
        ("[]", "expected a list of jobs"),
        ("- [", "not valid YAML"),
        ("- in", "entry 1: expected a mapping"),
        ("- {name: in, trajektory: left}", r"entry 1 \('in'\): unknown key 'trajektory' .did you mean 'traj.*trajectory is missing"),
        ("- {trajectory: left 5deg}", "entry 1: name is missing"),
        ("- {name: 1, trajectory: left 5deg}", "name 1: expected words; put them in quotes"),
        ("- {name: ../in, trajectory: left 5deg}", "'../in'.*a name becomes a folder"),
        ("- {name: .., trajectory: left 5deg}", "a name becomes a folder"),
        ("- {name: in.part, trajectory: left 5deg}", "a name becomes a folder"),
        ("- {name: in, trajectory: a}\n- {name: in, trajectory: b}", r"entry 2 \('in'\): the name is that of entry 1"),
        ("- {name: in, trajectory: a, frames: 1, seed: x, anchor: true}", "seed 'x': expected a whole number"),
    ],
)  # fmt: skip
def test_wrong_jobs_are_named(text, message, tmp_path):
    (tmp_path / "jobs.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_jobs(tmp_path / "jobs.yaml", DEFAULT)
