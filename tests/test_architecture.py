"""The order of the rooms: each may use only what stands before it (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASE = ("compression", "files", "memory", "naming", "parsing", "spread", "waits")
ORDER = (
    "cameras", "media", "geometry", "captures", "simulation", "clips", "grounding", "models", "diffusion", "conditioning", "pipelines",
    "evaluation", "training", "studies", "app", "cli",
)  # fmt: skip
ANYWHERE = ("pretrained",)
"""Reads folders of models without any of the rooms."""


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module in ("video4spatial", "data_curation"):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.split(".")[0] in ("video4spatial", "data_curation")}


def room(module: str) -> str | None:
    """The room of a module, `curation`, or None for the package itself."""
    parts = module.split(".")
    if parts[0] == "data_curation":
        return "curation"
    return parts[1] if len(parts) > 1 else None


FILES = sorted((ROOT / "video4spatial").rglob("*.py"))


def test_every_room_has_its_place():
    rooms = {path.relative_to(ROOT / "video4spatial").parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    assert rooms <= {*BASE, *ORDER, *ANYWHERE}


@pytest.mark.parametrize("name", [*BASE, *ORDER, *ANYWHERE])
def test_a_room_uses_only_what_stands_before_it(name):
    place = ORDER.index(name) if name in ORDER else -1
    allowed = {*BASE, *ORDER[: place + 1], name, *(ANYWHERE if place > ORDER.index("models") else ())}
    # Curated data sets are trained on, and the command line builds them.
    allowed |= {"curation"} if name in ("training", "cli") else set()
    for path in FILES:
        if path.relative_to(ROOT / "video4spatial").parts[0].removesuffix(".py") == name:
            found = {room(module) for module in imported(path)} - {None, "Video4SpatialPipeline", "__version__"}
            assert found <= allowed, f"{path.relative_to(ROOT)} uses {sorted(found - allowed)}"


def test_curation_uses_nothing_above_clips():
    allowed = {"curation", *BASE, *ORDER[: ORDER.index("clips") + 1]}
    for path in sorted((ROOT / "data_curation").rglob("*.py")):
        found = {room(module) for module in imported(path)} - {None, "__version__"}
        if path.name == "__main__.py":  # `python -m data_curation` is a command
            found -= {"cli"}
        assert found <= allowed, f"{path.relative_to(ROOT)} uses {sorted(found - allowed)}"
