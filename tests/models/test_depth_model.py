"""Depth models from a folder: tiny ones of random weights, of the real classes."""

import numpy as np
import pytest
import torch

from video4spatial.models.depth_model import DepthModel
from video4spatial.models.stereo import StereoNetwork
from video4spatial.models.stereo_depth import StereoDepth
from video4spatial.simulation import capture_walk, generate_scene, render

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def stereo() -> StereoDepth:
    torch.manual_seed(0)
    return StereoDepth(StereoNetwork(planes=8, match_channels=4, channels=8, widths=(8, 16, 16, 16)))


@pytest.fixture(scope="module", params=["metric", "relative"])
def folder(request, tmp_path_factory):
    torch.manual_seed(0)
    stages = [f"stage{index}" for index in (1, 2, 3, 4)]
    backbone = transformers.Dinov2Config(
        hidden_size=24, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, image_size=56, patch_size=14, out_features=stages,
        reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=24, neck_hidden_sizes=[8] * 4, fusion_hidden_size=8, head_hidden_size=8,
        depth_estimation_type=request.param, max_depth=20,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp(request.param)
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    transformers.DPTImageProcessor(size={"height": 56, "width": 70}, ensure_multiple_of=14).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return folder


@pytest.fixture(scope="module")
def walk():
    cameras = capture_walk(generate_scene(3), 6, seed=1)
    return render(generate_scene(3), cameras, 64, 80).rgb, cameras


def test_depth_comes_in_the_unit_of_the_cameras_with_a_licence(folder, stereo, walk):
    frames, cameras = walk
    model = DepthModel(folder, stereo)
    assert model.licence == "apache-2.0" and "DepthAnything" in model.name
    maps = model(frames, cameras, [0, 4])
    assert maps.depth.shape == maps.confidence.shape == (2, *stereo.working_size(64, 80)) and np.isfinite(maps.depth).all()
    assert (maps.depth > 0).all() and maps.confidence.min() >= 0 and maps.confidence.max() <= 1 and len(maps.reasons) == 2


def test_a_model_that_is_right_is_laid_over_exactly(folder, stereo):
    """Whatever scale (and shift of inverse depth) a model has, and whatever a part of the stereo depth says."""
    model, random = DepthModel(folder, stereo), np.random.default_rng(0)
    truth = random.uniform(1, 5, (24, 32))
    read = truth * 3 if model.metric else 0.4 / truth + 0.7
    measured = truth.copy()
    measured[:, :6] *= 2  # a fifth of it is wrong
    found, error = model._laid_over(read, measured, np.full(truth.shape, 0.6))
    np.testing.assert_allclose(found, truth, rtol=0.02)
    assert error[:, :6].min() > 0.5 > 0.1 > error[:, 6:].max()


def test_what_does_not_fit_keeps_the_stereo_depth_and_says_so(folder, stereo, walk):
    frames, cameras = walk
    model = DepthModel(folder, stereo)
    model._read = lambda frame, size: np.full(size, np.nan)
    maps, alone = model(frames, cameras, [1]), stereo(frames, cameras, [1])
    assert np.array_equal(maps.depth, alone.depth) and "too little of it is known" in maps.reasons[0]


def test_folders_without_a_depth_model_are_refused(stereo, tmp_path):
    with pytest.raises(FileNotFoundError, match="no config.json"):
        DepthModel(tmp_path, stereo)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="expected a depth model"):
        DepthModel(tmp_path, stereo)
