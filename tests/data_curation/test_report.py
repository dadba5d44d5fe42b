"""The report of a data set: whole, self-contained, telling of everything that was kept, left out or failed."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from data_curation.build import Source, Work, build
from data_curation.report import write_report
from data_curation.shards import ShardSettings
from video4spatial.clips.manifest import MANIFEST

NAME = "<b>Küche</b> ✓ 台所"
ROOM = Source("train:1", options={"num_frames": 64, "size": 96})
SERIAL = Work(executor="serial")


def footage(folder):
    """Six pictures without cameras, of which one is black."""
    pictures = np.random.default_rng(0).integers(60, 200, (6, 48, 64, 3), dtype=np.uint8)
    pictures[2] = 0
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number}.png")
    return Source(str(folder))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data set of a room, footage that is filtered and a capture that fails."""
    root = tmp_path_factory.mktemp("report")
    pictures = footage(root / NAME)
    broken = root / "broken"
    broken.mkdir()
    (broken / "transforms.json").write_text('{"frames": [{"file_path": "<i>none</i>.png"}]}')
    build([ROOM, pictures, Source(str(broken))], root / "set", shards=ShardSettings("redistributable", 48, 48), work=SERIAL)
    return root / "set", root / NAME


@pytest.fixture(scope="module")
def page(made):
    return write_report(made[0]).read_text()


@pytest.fixture
def dataset(made, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(made[0], tmp_path / "set")


def sections(page):
    return {title: body for title, body in re.findall(r"<h2>(.*?)</h2>(.*?)</section>", page, re.S)}


def test_the_page_is_whole_and_self_contained(made, page):
    assert (made[0] / "report.html").stat().st_size < 6e6 and not list(made[0].glob(".*"))
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//|file:)""", page) and "@import" not in page and "<script" not in page
    assert re.search(r"<b>1</b>scenes kept.*<b>1</b>scenes filtered.*<b>1</b>scenes failed", page, re.S)
    assert "Could not be read" not in page


def test_every_section_tells_what_it_should(made, page):
    told = sections(page)
    summary = json.loads((made[0] / "summary.json").read_text())
    for name, step in summary["stages"].items():
        assert f'<td class="step">{name.replace("_", " ")}</td>' in told["Step by step"]
        assert f'<td class="number">{step["kept"]:,}</td>' in told["Step by step"]
    assert "1 × cameras unknown" in told["Step by step"]
    (failure,) = summary["failures"]
    assert failure["key"] in told["Failed"] and "ingest" in told["Failed"]
    assert "cameras unknown" in told["Filtered scenes"] and told["Scenes left out"].count("<img") == 1
    for score in ("Sharpness", "Brightness", "Change", "Coverage", "Path length", "Speed", "Rotation", "Epipolar error"):
        assert f"<figcaption>{score}<small>" in told["Scores"]
    assert told["Scores"].count("<svg") == 8 and "limit" in told["Scores"]
    assert "Apache-2.0" in told["Licences"] and "OpenCV camera-to-world" in told["Cameras as read"]
    drawing = told["Paths from above"]
    assert drawing.count("<svg") == 1 and ">bed<" in drawing and "navigation targets" in drawing


def test_clips_are_shown_with_anchor_origin_and_boxes(page):
    told = sections(page)
    for kind in ("navigation", "grounding"):
        clips = told[f"{kind} clips"].split('<div class="clip">')[1:]
        assert 1 <= len(clips) <= 8
        for clip in clips:
            assert clip.count("<img") == 6 + 9 and clip.count('class="anchor"') == 2 and "“" in clip
            assert ('<i style="left:' in clip) == (kind == "grounding")
    assert 'class="badge">captured<' in told["grounding clips"] or "badge warm" in told["grounding clips"]


def test_frames_left_out_are_shown_with_the_reason(page):
    shown = sections(page)["Frames left out"]
    assert shown.count("<img") >= 1 and "frame 2 of" in shown and "brightness 0" in shown


def test_names_are_escaped(page):
    assert "<b>Küche" not in page and "&lt;b&gt;Küche" in page and "台所" in page


def test_what_cannot_be_read_is_named_instead_of_shown(made, dataset):
    (dataset / "shards" / "train-00000.tar").unlink()
    moved = made[1].rename(made[1].with_name("elsewhere"))
    try:
        told = sections(write_report(dataset).read_text())
    finally:
        moved.rename(made[1])
    assert "Küche" in told["Could not be read"] and "train-00000.tar" in told["Could not be read"]
    assert "Scenes left out" not in told and "cameras unknown" in told["Filtered scenes"]
    assert "<img" in told["navigation clips"]  # the room itself is still there


def test_an_empty_data_set_still_gives_a_page(tmp_path):
    build([footage(tmp_path / "videos" / "one")], tmp_path / "set", work=SERIAL)
    page = write_report(tmp_path / "set").read_text()
    assert "No clip came out." in page and "<b>0</b>clips" in page and "cameras unknown" in page


def test_a_stopped_build_is_told_from_its_records_whatever_their_stages(dataset):
    (dataset / "summary.json").unlink()
    path = next((dataset / "scenes").glob("rooms-*.json"))
    record = json.loads(path.read_text())
    stage = {"data": {}, "unit": "noses", "kept": 1234, "filtered": {"too_<pungent>": 7}, "stop": None, "fingerprint": ""}
    record["stages"]["smell_test"] = stage
    record["stages"]["navigation"]["data"]["rejected_coverage"] = [0.1, 0.2]
    path.write_text(json.dumps(record))
    page = write_report(dataset).read_text()
    assert "stopped before its end" in page and re.search(r"<b>1</b>scenes kept.*<b>1</b>scenes failed", page, re.S)
    assert "rejected windows (2)" in sections(page)["Scores"]
    steps = sections(page)["Step by step"]
    assert "1 × cameras unknown" in steps
    assert "smell test" in steps and "1,234" in steps and "noses" in steps and "7 × too &lt;pungent&gt;" in steps


def test_a_folder_without_a_manifest_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no manifest"):
        write_report(tmp_path)
    (tmp_path / MANIFEST).write_bytes(b"not parquet")
    with pytest.raises(ValueError, match="not a readable Parquet"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
