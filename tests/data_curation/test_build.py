"""Builds: what comes out is right, the same from every executor, and survives kills, bad input and full disks."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import webdataset

from data_curation.build import BuildError, Source, Work, build
from data_curation.dataset import DatasetSettings, assemble
from data_curation.executors import EXECUTORS
from data_curation.pipeline import StageSettings
from data_curation.readers import read_scene
from data_curation.records import read_record, record_files
from data_curation.shards import ShardSettings
from video4spatial.clips import Ground, Navigate
from video4spatial.clips.dataset import ClipDataset
from video4spatial.clips.manifest import read_manifest, write_manifest
from video4spatial.files import LEFTOVER
from video4spatial.media import write_video
from video4spatial.simulation import simulated_capture

ROOMS = Source("train:0-2", options={"num_frames": 40, "size": 48})
FAST = StageSettings()
FAST = replace(FAST, epipolar=replace(FAST.epipolar, pairs=0))
SMALL = ShardSettings(height=32, width=32, clips=8)
SERIAL = Work(executor="serial")


def everything_in(folder: Path) -> dict[str, bytes]:
    """The files that make up a data set."""
    files = [folder / "manifest.parquet", *sorted((folder / "shards").glob("*.tar")), folder / "shards" / "index.parquet"]
    return {file.name: file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Three rooms, built in this process."""
    folder = tmp_path_factory.mktemp("built") / "serial"
    build([ROOMS], folder, FAST, shards=SMALL, work=SERIAL)
    return folder


# ---- what comes out


def covered(row, capture) -> float:
    """Share of the target's pixels that a context frame shows: every pixel at full size, nearest neighbours, 5 cm or 2 %."""
    target, context = capture.read_depth(row.target_frames[1:]), capture.read_depth(row.context_frames)
    poses, intrinsics = capture.cameras.camera_to_world.numpy(), capture.cameras.intrinsics.numpy()
    height, width = target.shape[1:]
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([(x + 0.5) / width, (y + 0.5) / height, np.ones_like(x)], -1).reshape(-1, 3)
    seen = np.zeros((len(target), height * width), bool)
    for i, frame in enumerate(row.target_frames[1:]):
        local = pixels @ np.linalg.inv(intrinsics[frame]).T * target[i].reshape(-1, 1)
        world = local @ poses[frame][:3, :3].T + poses[frame][:3, 3]
        for j, other in enumerate(row.context_frames):
            there = (world - poses[other][:3, 3]) @ poses[other][:3, :3]
            depth = np.maximum(there[:, 2], 1e-6)
            u, v = (np.floor((there @ intrinsics[other].T)[:, k] / depth * size) for k, size in ((0, width), (1, height)))
            inside = (there[:, 2] > 1e-3) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
            found = context[j][np.where(inside, v, 0).astype(int), np.where(inside, u, 0).astype(int)]
            seen[i] |= inside & (np.abs(found - depth) < np.maximum(0.05, 0.02 * depth))
    return seen.mean()


def test_kept_targets_are_covered_and_keep_their_distance(rooms_dataset):
    rows = read_manifest(rooms_dataset / "manifest.parquet")
    assert {row.kind for row in rows} == {"navigation", "grounding"} and len(rows) > 10
    for row in rows:
        capture = read_scene(row.reader, row.scene, **row.options)
        assert covered(row, capture) >= 0.6, row.key
        assert row.context_frames[row.anchor] == row.target_frames[0] and list(row.context_frames) == sorted(row.context_frames)
        assert row.coverage_method == "depth" and row.scale == 1 and row.metric
        others = np.array([frame for frame in row.context_frames if frame != row.target_frames[0]])
        assert np.abs(others[:, None] - np.array(row.target_frames)).min() > 6  # a tenth of sixteen seconds
        assert torch.allclose(row.cameras[1].camera_to_world, capture.cameras[list(row.target_frames)].camera_to_world)


def test_grounding_clips_search_and_find(rooms_dataset):
    rows = [row for row in read_manifest(rooms_dataset / "manifest.parquet") if row.kind == "grounding"]
    assert rows and {row.origin for row in rows} <= {"captured", "reversed", "graph"}
    for row in rows:
        capture = read_scene(row.reader, row.scene, **row.options)
        pictures = capture.read_instances(row.target_frames) == row.instance_id
        assert pictures[0].mean() < 0.005
        y, x = np.nonzero(pictures[-1])
        assert pictures[-1].mean() >= 0.02
        middle = (np.array([x.min() + x.max(), y.min() + y.max()]) + 1) / 2 / pictures.shape[1]
        assert (np.abs(middle - 0.5) <= 0.25 + 1e-6).all(), row.key
        # The box on the context frame and those on the way enclose the object's pixels.
        left, top, right, bottom = np.array(row.boxes[-1]) * pictures.shape[1]
        assert abs(left - x.min()) < 1.01 and abs(right - x.max() - 1) < 1.01 and abs(top - y.min()) < 1.01
        shown = capture.read_instances([row.context_frames[row.region_frame]])[0] == row.instance_id
        y, x = (np.nonzero(shown)[axis].mean() / len(shown) for axis in (0, 1))
        assert row.region_box[0] < x < row.region_box[2] and row.region_box[1] < y < row.region_box[3]
        assert len(set(row.texts)) == 4 and all(row.label in text for text in row.texts)


def test_clips_come_from_shards_as_from_captures(rooms_dataset, tmp_path):
    shards = ClipDataset(rooms_dataset, "train")
    shutil.copy(rooms_dataset / "manifest.parquet", tmp_path)
    captures = ClipDataset(tmp_path, "train", size=(32, 32), open_capture=read_scene)
    assert len(shards) == len(captures) > 4
    kinds = set()
    for index in range(len(shards)):
        stored, read = shards[index], captures[index]
        kinds.add(type(stored.instruction))
        assert stored.name == read.name and stored.anchor == read.anchor and stored.scene == read.scene
        difference = stored.target_frames.astype(float) - read.target_frames
        assert np.sqrt((difference**2).mean()) < 4  # of JPEG
        assert np.abs(stored.context_depth - read.context_depth).max() <= 6e-4  # of millimetres
        assert torch.equal(stored.target_cameras.camera_to_world, read.target_cameras.camera_to_world)
        assert torch.equal(stored.context_cameras.intrinsics, read.context_cameras.intrinsics)
        assert np.array_equal(stored.target_frames[0], stored.context_frames[stored.anchor])
        if isinstance(stored.instruction, Ground):
            assert stored.instruction == read.instruction
            assert np.array_equal(stored.target_boxes, read.target_boxes, equal_nan=True)
    assert kinds == {Navigate, Ground}
    with pytest.raises(ValueError, match="no pixels in shards: give open_capture and size"):
        ClipDataset(tmp_path)
    with pytest.raises(ValueError, match="none of split test"):
        ClipDataset(rooms_dataset, "test")


def test_any_webdataset_loader_reads_the_shards(rooms_dataset):
    urls = [str(path) for path in sorted((rooms_dataset / "shards").glob("train-*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    rows = {row.key: row for row in read_manifest(rooms_dataset / "manifest.parquet") if row.split == "train"}
    assert {sample["__key__"] for sample in samples} == set(rows)
    for sample in samples:
        assert sample["target-0000.jpg"].shape == (32, 32, 3) and "context-0001.jpg" in sample
        assert sample["json"]["provenance"]["licence"] == "Apache-2.0" and sample["depth.npz"]["target"].dtype == np.uint16


def test_a_space_is_in_one_split_only(built):
    records = [read_record(path) for path in sorted((built / "scenes").glob("*.json"))]

    def with_space(record, key, space, split=None):
        copied = json.loads(json.dumps(record))
        copied |= {"key": key, "content": key}
        copied["stages"]["ingest"]["data"] |= {"space": space, "split": split}
        scores = copied["stages"]["frame_scores"]["data"]
        rng = random.Random(key)
        scores["hashes"] = [rng.getrandbits(64) for _ in scores["hashes"]]
        return copied

    record = next(record for record in records if record["status"] == "kept")
    many = [with_space(record, f"scene-{i}", f"house-{i // 2}") for i in range(60)]
    rows = assemble(many, DatasetSettings(validation=0.2, test=0.2)).rows
    of_space = {}
    for row in rows:
        of_space.setdefault(row.space, set()).add(row.split)
    assert all(len(splits) == 1 for splits in of_space.values()) and len(of_space) == 30
    assert {next(iter(splits)) for splits in of_space.values()} == {"train", "validation", "test"}
    # A list that puts one house into two splits: the stricter one holds, and the other recording is left out.
    both = [with_space(record, "a", "house", "train"), with_space(record, "b", "house", "test")]
    made = assemble(both, DatasetSettings())
    assert {row.split for row in made.rows} == {"test"} and {row.key[0] for row in made.rows} == {"b"}
    assert made.steps["split"]["filtered"]["space_in_another_split"] == len(made.rows)


def test_every_clip_has_a_key_of_its_own(rooms_dataset):
    """Also where two objects are reached by the same frames, and where a scene's name is long."""
    records = [read_record(path) for path in sorted((rooms_dataset / "scenes").glob("*.json"))]
    record = next(record for record in records if record["stages"]["grounding"]["data"]["clips"])
    clips = record["stages"]["grounding"]["data"]["clips"]
    clips.append({**clips[0], "instance_id": 999, "label": "another"})
    record["key"] = "x" * 100
    rows = assemble([record], DatasetSettings()).rows
    assert len({row.key for row in rows}) == len(rows) > 3 and sum(row.target_frames == rows[-1].target_frames for row in rows) >= 2


def test_copies_are_found_though_encoded_again(tmp_path):
    capture = simulated_capture(5, 24, 96, 128, supersample=1)
    frames = capture.read_frames(range(24))
    for name, pictures in [("original", frames), ("copy", frames), ("other", frames[::-1])]:
        folder = tmp_path / name / "images"
        folder.mkdir(parents=True)
        scale = 1 if name == "original" else 0.75
        for index, picture in enumerate(pictures):
            small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / f"{index:03d}.jpg"), small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
        poses = capture.cameras.camera_to_world.numpy()[:: -1 if name == "other" else 1]
        np.savetxt(tmp_path / name / "poses.txt", poses.reshape(24, 16))
        size = np.diag([128 * scale, 96 * scale, 1])
        np.savetxt(tmp_path / name / "K.txt", size @ capture.cameras.intrinsics[0].numpy())
    settings = replace(FAST, windows=replace(FAST.windows, frames=5), context=replace(FAST.context, guard_seconds=0.5))
    summary = build([Source(str(tmp_path))], tmp_path / "out", settings, shards=replace(SMALL, pixels="none"), work=SERIAL)
    assert summary.scenes == {"kept": 3}
    assert summary.stages["de-duplication"]["filtered"] == {"copy_of_another": 1}
    assert {row.capture for row in read_manifest(tmp_path / "out" / "manifest.parquet")} == {"copy", "other"}


# ---- the engine


def test_every_executor_makes_the_same_bytes(built, tmp_path):
    build([ROOMS], tmp_path / "processes", FAST, shards=SMALL, work=Work(executor="processes", workers=2))
    assert everything_in(tmp_path / "processes") == everything_in(built)
    for index in range(2):
        job = Work(executor="serial", num_shards=2, shard_index=index)
        summary = build([ROOMS], tmp_path / "jobs", FAST, shards=SMALL, work=job)
        assert not summary.complete and not (tmp_path / "jobs" / "manifest.parquet").exists()
    summary = build([ROOMS], tmp_path / "jobs", FAST, shards=SMALL, work=SERIAL)
    assert not summary.ran and everything_in(tmp_path / "jobs") == everything_in(built)


def test_ray_makes_the_same_bytes(built, tmp_path):
    ray = pytest.importorskip("ray")
    try:
        build([ROOMS], tmp_path / "ray", FAST, shards=SMALL, work=Work(executor="ray", workers=2))
    finally:
        ray.shutdown()
    assert everything_in(tmp_path / "ray") == everything_in(built)


def test_only_what_depends_on_a_change_is_run_again(built, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(built, folder)
    leftovers = [folder / "shards" / f"{LEFTOVER}99-train-00000.tar", folder / "scenes" / ".room.json.99.part"]  # named now, and before
    for leftover in leftovers:
        leftover.touch()
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "shards").iterdir()}
    assert build([ROOMS], folder, FAST, shards=SMALL, work=SERIAL).ran == {}
    assert not any(leftover.exists() for leftover in leftovers)
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "shards").glob("*.tar")}.items() <= before.items()
    stricter = replace(FAST, context=replace(FAST.context, least_coverage=0.9))
    changed = build([ROOMS], folder, stricter, shards=SMALL, work=SERIAL)
    assert set(changed.ran) == {"navigation", "grounding"}
    strict = read_manifest(folder / "manifest.parquet")
    assert 0 < len(strict) < len(read_manifest(built / "manifest.parquet")) and min(row.coverage for row in strict) >= 0.9
    assert build([ROOMS], folder, FAST, shards=SMALL, work=SERIAL).ran.keys() == changed.ran.keys()
    assert everything_in(folder) == everything_in(built)
    # A damaged record counts as none.
    record = next((folder / "scenes").glob("*.json"))
    record.write_bytes(record.read_bytes()[:1000])
    assert build([ROOMS], folder, FAST, shards=SMALL, work=SERIAL).ran["ingest"] == 1
    assert everything_in(folder) == everything_in(built)


def killed_build(folder: Path, seconds: float) -> bool:
    """Start a build of `ROOMS` in processes of its own and kill it after a while; whether it had ended before."""
    code = (
        "from tests.data_curation.test_build import *\n"
        "if __name__ == '__main__':\n"
        f"    build([ROOMS], {str(folder)!r}, FAST, shards=SMALL, work=Work(executor='processes', workers=2))\n"
    )
    script = folder.parent / "build.py"
    script.write_text(code)
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, str(script)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return False


def test_a_killed_build_goes_on(built, tmp_path):
    folder = tmp_path / "killed"
    for seconds in (9.0, 13.0):
        killed_build(folder, seconds)
        assert all(read_record(path) for path in record_files(folder))  # what was not finished lies beside them, by another name
        for path in folder.glob("manifest.parquet"):
            assert read_manifest(path)
    build([ROOMS], folder, FAST, shards=SMALL, work=SERIAL)
    assert everything_in(folder) == everything_in(built)
    assert not list(folder.rglob(f"{LEFTOVER}*"))


def _may_fail(item: str) -> str:
    """Work for executors: by its name it returns, dies, or hangs."""
    if item == "dies":
        os._exit(1)
    if item == "hangs":
        time.sleep(60)
    if item.startswith("once:") and not Path(item[5:]).exists():
        Path(item[5:]).touch()
        os._exit(1)
    return item.upper()


def test_a_worker_that_dies_or_hangs_costs_one_item(tmp_path):
    items = ["a", "dies", "b", "hangs", f"once:{tmp_path / 'mark'}", "c"]
    executor = EXECUTORS["processes"](2, timeout=3.0)
    finished = {items[done.index]: (done.value, done.problem) for done in executor.map(_may_fail, items)}
    assert finished.pop("dies") == (None, "crashed") and finished.pop("hangs") == (None, "timeout")
    assert finished == {item: (item.upper(), None) for item in finished} and len(finished) == 4


# ---- bad input


def broken_sources(folder: Path) -> dict[str, str]:
    """Captures with one fault each; {scene: what is said of it}."""
    capture = simulated_capture(7, 24, 48, 64, supersample=1)
    frames = capture.read_frames(range(24))
    write_video(folder / "walk.with.dots ünï.mp4", frames, 12.0)
    video = folder / "cut short.mp4"
    write_video(video, np.concatenate([frames] * 8), 12.0)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    poses = capture.cameras.camera_to_world.numpy().reshape(24, 16).copy()
    for name in ("nan poses", "no cameras.txt", "missing depth"):
        scene = folder / name
        (scene / "images").mkdir(parents=True)
        for index, picture in enumerate(frames):
            cv2.imwrite(str(scene / "images" / f"{index:03d}.png"), picture[..., ::-1])
        np.savetxt(scene / "poses.txt", np.full_like(poses, np.nan) if name == "nan poses" else poses)
        np.savetxt(scene / "K.txt", np.diag([64, 48, 1]) @ capture.cameras.intrinsics[0].numpy())
    (folder / "missing depth" / "depth").mkdir()
    (folder / "missing depth" / "depth" / "000.png").write_bytes(b"no picture")
    (folder / "empty" / "images").mkdir(parents=True)
    (folder / "gone.txt").write_text("https://video.example/gone\n" + "0 0.5 0.9 0.5 0.5 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n" * 3)
    return {"cut short": "cut", "nan poses": "pose", "missing depth": "depth"}


def test_bad_captures_fail_by_name_and_leave_the_rest_alone(tmp_path):
    sources = tmp_path / "raw"
    told = broken_sources(sources)
    videos = [Source(str(sources / "walk.with.dots ünï.mp4")), Source(str(sources / "cut short.mp4"))]
    settings = replace(FAST, windows=replace(FAST.windows, frames=5), context=replace(FAST.context, guard_seconds=0.25))
    rooms = replace(ROOMS, path="train:0")
    summary = build(
        [rooms, *videos, Source(str(sources / "gone.txt")), Source(str(sources), "pose_table")], tmp_path / "out", settings, shards=SMALL,
        work=Work(executor="processes", workers=2),
    )  # fmt: skip
    failures = {failure["key"]: failure["reason"] for failure in summary.failures}
    assert summary.complete and len(failures) == summary.scenes["failed"] == len(told)
    for scene, reason in told.items():
        (key,) = [key for key in failures if scene.replace(" ", "-") in key]
        assert reason in failures[key].lower(), failures[key]
    assert summary.failed_share > 0.05 and summary.clips["train"]["navigation"] > 0
    assert not [failure for failure in summary.failures if "traceback" in failure["reason"].lower()]
    without_video = read_record(next((tmp_path / "out" / "scenes").glob("realestate10k*.json")))
    assert (without_video["status"], without_video["reason"]) == ("filtered", "source_missing")
    footage = read_record(next((tmp_path / "out" / "scenes").glob("footage-walk-with-dots*.json")))
    assert (footage["status"], footage["reason"]) == ("filtered", "no_cameras")


def test_sources_and_outputs_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(BuildError, match="no scenes found"):
        build([Source(str(tmp_path))], tmp_path / "out")
    with pytest.raises(BuildError, match="listed twice"):
        build([ROOMS, ROOMS], tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match="cannot write to .*file: .*choose another"):
        build([ROOMS], tmp_path / "file")
    with pytest.raises(ValueError, match="num_shards and shard_index together"):
        Work(num_shards=2)
    with pytest.raises(FileNotFoundError, match="v4s curate build"):
        read_manifest(tmp_path / "manifest.parquet")
    (tmp_path / "other.parquet").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a readable Parquet"):
        read_manifest(tmp_path / "other.parquet")


def test_a_build_of_other_sources_takes_nothing_away_unasked(built, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(built, folder)
    before = everything_in(folder)
    other = Source("train:7-7", options=ROOMS.options)
    with pytest.raises(BuildError, match="holds 3 scenes that these sources do not have .*`replace` takes them out"):
        build([other], folder, FAST, shards=SMALL, work=SERIAL)
    assert everything_in(folder) == before
    assert set(build([ROOMS, other], folder, FAST, shards=SMALL, work=SERIAL).ran.values()) == {1}  # added
    summary = build([other], folder, FAST, shards=SMALL, work=SERIAL, replace=True)
    assert sum(summary.scenes.values()) == 1 and len(list((folder / "scenes").glob("*.json"))) == 1
    shutil.rmtree(folder / "scenes")
    before = everything_in(folder)
    with pytest.raises(BuildError, match="manifest.parquet, .* but no records of scenes"):
        build([ROOMS], folder, FAST, shards=SMALL, work=SERIAL)
    assert everything_in(folder) == before


def test_a_disk_that_is_full_fails_what_did_not_fit(built, tmp_path):
    """Files beyond a size are refused by the system, as on a full disk: the shards fail, everything before them is there."""
    folder = tmp_path / "full"
    largest = max(path.stat().st_size for path in (*(built / "scenes").glob("*.json"), built / "manifest.parquet"))
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest + 1000}, {largest + 1000}))\n"
        "from tests.data_curation.test_build import *\n"
        f"summary = build([ROOMS], {str(folder)!r}, FAST, shards=SMALL, work=SERIAL)\n"
        "print(json.dumps(summary.failures))\n"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    failures = json.loads(run.stdout.splitlines()[-1])
    assert failures and all(failure["stage"] == "shards" and "too large" in failure["reason"] for failure in failures)
    assert not list((folder / "shards").glob("*.tar")) and not list(folder.rglob(f"{LEFTOVER}*"))
    assert (folder / "manifest.parquet").read_bytes() == (built / "manifest.parquet").read_bytes()
    # With room again only the shards are written.
    assert build([ROOMS], folder, FAST, shards=SMALL, work=SERIAL).ran == {}
    assert everything_in(folder) == everything_in(built)


def test_no_room_at_all_is_told_in_one_line(tmp_path):
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "from video4spatial.cli.errors import exit_code\n"
        "from video4spatial.cli.main import run\n"
        f"arguments = ['curate', 'build', '--sources=[{{path: train:0}}]', '--work.executor=serial']\n"
        f"arguments += ['--output', {str(tmp_path / 'out')!r}]\n"
        "sys.exit(exit_code(run, arguments))\n"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith(" ")]
    assert done.returncode == 2 and line.startswith("error: ") and "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("*.parquet")) and not list(tmp_path.rglob(f"{LEFTOVER}*"))


def test_a_manifest_comes_back_as_it_was(rooms_dataset, tmp_path):
    rows = read_manifest(rooms_dataset / "manifest.parquet")
    write_manifest(tmp_path / "again.parquet", rows)
    assert (tmp_path / "again.parquet").read_bytes() == (rooms_dataset / "manifest.parquet").read_bytes()
    write_manifest(tmp_path / "none.parquet", [])
    assert read_manifest(tmp_path / "none.parquet") == []
