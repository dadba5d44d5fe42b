"""Frame-exactness and errors of both video backends, on one set of clips."""

import importlib.util
import json
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from video4spatial.media import BackendError, MediaError, open_video
from video4spatial.media.reader import BACKENDS, DEFAULT_BACKEND, open_with_first_able

HAS_DECORD = importlib.util.find_spec("decord") is not None
needs_decord = pytest.mark.skipif(not HAS_DECORD, reason="decord is not installed here")
both_backends = pytest.mark.parametrize("backend", ["pyav", pytest.param("decord", marks=needs_decord)])

COUNT = 60
RANDOM = np.random.default_rng(0)
ORDERS = {
    "sorted": np.sort(RANDOM.choice(COUNT, 15, replace=False)),
    "shuffled": RANDOM.permutation(COUNT),
    "repeated": np.array([5, 59, 5, 0, 31, 31, 0]),
    "backwards": np.arange(COUNT)[::-1],
    "all": np.arange(COUNT),
}


@both_backends
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "name",
    ["gop_12.mp4", "gop_250.mp4", "gop_2.mp4", "gop_12.mkv", "variable.mp4", "odd.mp4"]
    + [f"turned_{degrees}.mp4" for degrees in (90, 180, 270)],
)
def test_exactly_the_frames_asked_for(videos, numbers_of, backend, order, name):
    with open_video(videos / name, backend) as video:
        assert len(video) == COUNT
        for _ in range(2):  # the second read starts where the first one ended
            frames = video.read(ORDERS[order])
            assert frames.shape == (len(ORDERS[order]), video.height, video.width, 3) and frames.dtype == np.uint8
            assert numbers_of(frames) == ORDERS[order].tolist()


@pytest.mark.parametrize("name", ["open_groups.mp4", "mirrored.mp4", "stream.ts", "old.avi"])
def test_what_only_pyav_reads_exactly(videos, numbers_of, name):
    with open_video(videos / name) as video:
        for order in ORDERS.values():
            assert numbers_of(video.read(order)) == order.tolist()
    if HAS_DECORD:
        with pytest.raises(BackendError, match="decord cannot read it exactly"):
            open_video(videos / name, "decord")


def test_trimmed_video_starts_at_the_trim(videos, numbers_of):
    with open_video(videos / "trimmed.mp4") as video:
        numbers = numbers_of(video.read(range(len(video))))
        assert numbers == list(range(COUNT - len(video), COUNT)) and 24 < numbers[0] <= 28
        assert video.times[0] == 0
        assert numbers_of(video.read([9, 0])) == [numbers[9], numbers[0]]


@needs_decord
@pytest.mark.parametrize("name", ["gop_12.mp4", "odd.mp4", "turned_90.mp4", "variable.mp4"])
def test_backends_agree_on_pixels_and_times(videos, name):
    one, other = open_video(videos / name, "pyav"), open_video(videos / name, "decord")
    assert np.abs(one.read([40, 3]).astype(int) - other.read([40, 3])).max() <= 3
    assert (one.height, one.width, one.frame_rate) == (other.height, other.width, other.frame_rate)
    assert np.array_equal(one.times, other.times)


@both_backends
def test_times_of_a_variable_frame_rate(videos, times_of_variable, backend):
    video = open_video(videos / "variable.mp4", backend)
    np.testing.assert_allclose(video.times, times_of_variable, atol=1e-4)
    assert video.frame_rate == pytest.approx((COUNT - 1) / times_of_variable[-1], rel=0.02)


def test_times_of_a_constant_frame_rate(videos):
    video = open_video(videos / "gop_12.mp4")
    np.testing.assert_allclose(video.times, np.arange(COUNT) / 24, atol=1e-9)
    assert video.frame_rate == 24
    with pytest.raises(ValueError, match="read-only"):
        video.times[0] = 1


@pytest.mark.parametrize("name, size", [("odd.mp4", (67, 99)), ("turned_90.mp4", (66, 98)), ("gop_12.mp4", (66, 98))])
def test_size_is_the_size_as_shown(videos, name, size):
    video = open_video(videos / name)
    assert (video.height, video.width) == size


@both_backends
def test_survives_pickling_closing_and_a_fork(videos, numbers_of, backend):
    video = open_video(videos / "gop_12.mp4", backend)
    video.read([7])
    assert numbers_of(pickle.loads(pickle.dumps(video)).read([30, 2])) == [30, 2]
    video.close()
    assert numbers_of(video.read([11])) == [11]
    # In a process of its own: a fork of the test runner would inherit its threads.
    program = (
        "import sys, torch\n"
        "from video4spatial.media import open_video\n"
        "class Frames(torch.utils.data.Dataset):\n"
        "    video = open_video(sys.argv[1], sys.argv[2])\n"
        "    def __len__(self): return 8\n"
        "    def __getitem__(self, i): return torch.from_numpy(self.video.read([7 * i])[0])\n"
        "data = Frames(); expected = torch.stack([data[i] for i in range(8)])\n"
        "loader = torch.utils.data.DataLoader(data, batch_size=8, num_workers=1, multiprocessing_context='fork')\n"
        "assert torch.equal(next(iter(loader)), expected)\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    arguments = [sys.executable, "-c", program, videos / "gop_12.mp4", backend]
    subprocess.run(arguments, check=True, env=environment, timeout=60)


@both_backends
@pytest.mark.parametrize("indices", [[60], [-1], [3, 100]])
def test_an_index_outside_names_the_range(videos, backend, indices):
    with pytest.raises(ValueError, match=r"gop_12.mp4: no frame -?\d+: the video has frames 0 to 59"):
        open_video(videos / "gop_12.mp4", backend).read(indices)


def test_indices_must_be_a_list_of_integers(videos):
    video = open_video(videos / "gop_12.mp4")
    assert video.read([]).shape == (0, 66, 98, 3)
    assert video.read(index for index in (1, 2)).shape[0] == 2
    for wrong in ([0.5], [[1, 2]]):
        with pytest.raises(ValueError, match="one-dimensional list of integers"):
            video.read(wrong)


@both_backends
@pytest.mark.parametrize("name", ["gop_12.mp4", "gop_12.mkv"])
def test_a_file_cut_short_is_named_with_its_last_good_frame(videos, tmp_path, backend, name):
    content = (videos / name).read_bytes()
    broken = tmp_path / f"broken_{name}"
    broken.write_bytes(content[: len(content) * 7 // 10])
    with pytest.raises(MediaError, match=rf"{broken.name}: cannot be decoded past frame \d+ of 60") as caught:
        open_video(broken, backend)
    last = int(str(caught.value).split("past frame ")[1].split()[0])
    # Oracle: FFmpeg decoding packet after packet, in one thread.
    decoded = 0
    with av.open(str(broken)) as container:
        try:
            decoded = sum(1 for _ in container.decode(video=0))
        except av.FFmpegError:
            pass
    assert 10 < last < 59 and (not decoded or last + 1 == decoded)


@both_backends
def test_damage_in_the_middle_spares_the_frames_around_it(videos, numbers_of, tmp_path, backend):
    with av.open(str(videos / "gop_12.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        first_of_group = [packet for packet in packets if packet.is_keyframe][-2]
        damaged_frame = round(float(first_of_group.pts * first_of_group.time_base) * 24)
        start, size = first_of_group.pos, first_of_group.size
    content = bytearray((videos / "gop_12.mp4").read_bytes())
    content[start : start + size] = bytes(size)
    broken = tmp_path / "damaged.mp4"
    broken.write_bytes(content)
    with open_video(broken, backend) as video:
        assert numbers_of(video.read([damaged_frame - 5, 2])) == [damaged_frame - 5, 2]
        with pytest.raises(MediaError, match=f"cannot be decoded past frame {damaged_frame - 1} of 60"):
            video.read([damaged_frame])
        assert numbers_of(video.read([1])) == [1]


@both_backends
def test_what_is_not_a_video_is_said_in_one_line(videos, tmp_path, backend):
    (tmp_path / "notes.txt").write_text("not a film\n" * 50)
    (tmp_path / "notes.mp4").write_text("not a film\n" * 50)
    (tmp_path / "nothing.mp4").touch()
    (tmp_path / "no_index.mp4").write_bytes((videos / "trimmed.mp4").read_bytes()[:2000])  # the index comes last here
    with av.open(str(tmp_path / "no_frames.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.start_encoding()
    for name, message in {
        "notes.txt": "not a video",
        "notes.mp4": "not a video",
        "nothing.mp4": "the file is empty",
        "no_index.mp4": "without its index, so it was cut short",
        "no_frames.mkv": "no frames|not a video",
    }.items():
        with pytest.raises(MediaError, match=f"{name}: .*({message})") as caught:
            open_video(tmp_path / name, backend)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="missing.mp4: no such video file or folder of images"):
        open_video(tmp_path / "missing.mp4", backend)


def test_wrong_arguments(videos):
    with pytest.raises(ValueError, match="unknown video backend 'opencv'; expected 'auto', 'pyav', 'decord'"):
        open_video(videos / "gop_12.mp4", "opencv")
    with pytest.raises(ValueError, match="positive number of frames per second, got 0"):
        open_video(videos, frame_rate=0)
    with pytest.raises(ValueError, match="for images only"):
        open_video(videos / "gop_12.mp4", frame_rate=4)


def test_av1_falls_back_and_says_so(videos, numbers_of, caplog):
    with caplog.at_level(logging.WARNING), open_with_first_able(videos / "av1.mp4", ["decord", "pyav"]) as video:
        assert numbers_of(video.read([11, 0])) == [11, 0]
    assert "falling back from decord" in caplog.text


def test_decord_is_imported_only_when_chosen(videos):
    program = "import sys; from video4spatial.media import open_video; open_video(sys.argv[1], 'pyav').read([0]); "
    program += "assert 'decord' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", program, videos / "gop_12.mp4"], check=True, env=environment, timeout=60)


def test_the_default_is_the_measured_one():
    results = json.loads((Path(__file__).parents[2] / "benchmarks/results/video_reading.json").read_text())
    ratios = {row["name"]: row["metrics"]["mean_ratio_to_pyav"]["value"] for row in results["rows"]}
    assert DEFAULT_BACKEND == min(BACKENDS, key=ratios.__getitem__) == results["settings"]["supported_default"]
