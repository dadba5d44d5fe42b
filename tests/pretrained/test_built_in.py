"""The models that ship: complete, small enough, and better than repeating the anchor frame on rooms they never saw."""

import numpy as np
import pytest

from video4spatial import Video4SpatialPipeline
from video4spatial.evaluation.metrics.image import gradient_correlation, psnr
from video4spatial.evaluation.rows import model
from video4spatial.evaluation.rows.model import RowInputs
from video4spatial.evaluation.rows.references import static
from video4spatial.evaluation.test_set import load_test_set
from video4spatial.pipelines import GenerationSettings
from video4spatial.pretrained import FOLDER, built_in_models, read_model_folder


def test_checkpoints_stay_small():
    size = sum(path.stat().st_size for path in FOLDER.rglob("*.safetensors"))
    assert "rooms" in built_in_models() and size <= 40e6


@pytest.mark.parametrize("name", built_in_models())
def test_folders_are_complete(name):
    folder = read_model_folder(name)
    assert folder.domain and folder.height % 8 == 0


def test_rooms_follows_the_camera_in_unseen_rooms():
    pipeline = Video4SpatialPipeline.from_pretrained(read_model_folder("rooms").path)
    pipeline.set_progress_bar_config(disable=True)
    clips = [clip.load(size=pipeline.config.height) for clip in load_test_set(limit=3)]
    better, similar, ceiling = [], [], []
    for index, clip in enumerate(clips):
        inputs = RowInputs(clip, pipeline, GenerationSettings(8), noise=index)
        # Cameras that are given save half a minute a clip, and only the first is read from the video alone.
        frames = (model.model if index == 0 else model.model_with_context_cameras)(inputs)
        truth = clip.target_frames
        better.append(psnr(frames, truth)[1:].mean() - psnr(static(clip), truth)[1:].mean())
        similar.append(
            gradient_correlation(frames, truth)[1:].mean() - gradient_correlation(static(clip), truth)[1:].mean()
        )
        ceiling.append(psnr(model.vae_ceiling(inputs), truth)[1:].mean())
    assert np.mean(better) > 1.0 and np.mean(similar) > 0.1 and np.mean(ceiling) > 28
