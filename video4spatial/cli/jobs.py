"""Jobs files of `sample.py many`: a list of paths through one scene."""

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

import yaml

from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.naming import unknown

NAME = re.compile(r"\w[\w.+-]*(?<!\.part)(?<!\.old)")
"""Names of folders that are the same everywhere and never those that hold unfinished results."""


@dataclass(frozen=True)
class Job:
    """One path through a scene.

    Args:
        name: of its folder; "" for the only one.
        trajectory: words or a file.
        anchor: frame of the context it starts from, counted from either end.
        frames: to generate, the anchor's included; None for as many as the model was trained with.
        seed: of the noise.
        prompt: for models that read text, or None.
    """

    name: str = ""
    trajectory: str = ""
    anchor: int = -1
    frames: int | None = None
    seed: int = 0
    prompt: str | None = None


LEAST = {"frames": 2, "seed": 0, "anchor": None}
KEYS = tuple(field.name for field in fields(Job))


def read_jobs(path: str | Path, default: Job) -> list[Job]:
    """Read a jobs file.

    Args:
        path: YAML: a list of mappings with `name` and `trajectory`, and perhaps `anchor`, `frames`, `seed` and `prompt`.
        default: what entries leave out is as in this job.

    Returns:
        The jobs in the order of the file.

    Raises:
        UserError: naming all that is wrong, entry by entry.
    """
    with user_mistakes():
        text = Path(path).read_text(encoding="utf-8")
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: expected a list of jobs, such as '- {{name: left, trajectory: turn left 30}}'")
    problems, jobs, seen = [], [], {}
    for number, entry in enumerate(entries, start=1):
        named = f"entry {number}"
        if not isinstance(entry, dict):
            problems.append(f"{named}: expected a mapping with name and trajectory, got {entry!r}")
            continue
        name = entry.get("name")
        named += f" ({name!r})" if name is not None else ""
        wrong = _problems(entry)
        if name in seen:
            wrong.append(f"the name is that of entry {seen[name]} as well")
        problems += [f"{named}: {problem}" for problem in wrong]
        if not wrong:
            seen[name] = number
            jobs.append(replace(default, **{key: value for key, value in entry.items() if value is not None}))
    if problems:
        raise UserError(f"{path}: " + "; ".join(problems))
    return jobs


def _problems(entry: dict) -> list[str]:
    problems = [unknown("key", str(key), KEYS) + f"; known: {', '.join(KEYS)}" for key in entry if key not in KEYS]
    for key in ("name", "trajectory", "prompt"):
        value = entry.get(key)
        if value is None and key != "prompt":
            problems.append(f"{key} is missing")
        elif value is not None and not isinstance(value, str):
            problems.append(f"{key} {value!r}: expected words; put them in quotes")
    name = entry.get("name")
    if isinstance(name, str) and not NAME.fullmatch(name):
        problems.append("a name becomes a folder: expected letters, digits, '.', '+', '-' and '_', not ending in .part or .old")
    for key, least in LEAST.items():
        value = entry.get(key)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            problems.append(f"{key} {value!r}: expected a whole number")
        elif least is not None and value < least:
            problems.append(f"{key} {value}: expected at least {least}")
    return problems
