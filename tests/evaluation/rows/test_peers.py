"""The peer that knows nothing of the scene: any image-to-video pipeline."""


import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, UNetSpatioTemporalConditionModel

from video4spatial.evaluation.rows.peers import image_to_video, load_image_to_video


@pytest.fixture(scope="module")
def tiny_image_to_video(tmp_path_factory):
    """A Stable Video Diffusion pipeline of random weights, saved as any other is."""
    transformers = pytest.importorskip("transformers")
    from diffusers import StableVideoDiffusionPipeline

    torch.manual_seed(0)
    unet = UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64), sample_size=32, in_channels=8, out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        layers_per_block=1, cross_attention_dim=32, num_attention_heads=8,
        projection_class_embeddings_input_dim=96, addition_time_embed_dim=32,
    )  # fmt: skip
    vae = AutoencoderKLTemporalDecoder(block_out_channels=[32, 64], down_block_types=["DownEncoderBlock2D"] * 2)
    seeing = transformers.CLIPVisionConfig(
        hidden_size=32, projection_dim=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=37, patch_size=56
    )
    pipeline = StableVideoDiffusionPipeline(
        vae=vae, unet=unet, scheduler=EulerDiscreteScheduler(), image_encoder=transformers.CLIPVisionModelWithProjection(seeing),
        feature_extractor=transformers.CLIPImageProcessor(crop_size=32, size=32),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("peer") / "svd"
    pipeline.save_pretrained(folder)
    return folder


def test_any_image_to_video_folder_is_a_peer(clip, tiny_image_to_video):
    pipeline = load_image_to_video(tiny_image_to_video)
    frames = image_to_video(clip, pipeline, steps=1, height=40)
    assert frames.dtype == np.uint8 and frames.shape == clip.target_frames.shape
    assert np.array_equal(frames, image_to_video(clip, pipeline, steps=1, height=40))
    assert not np.array_equal(frames, image_to_video(clip, pipeline, seed=1, steps=1, height=40))


def test_other_folders_are_refused(tiny_model_folder, tmp_path):
    with pytest.raises(ValueError, match="no model_index.json"):
        load_image_to_video(tmp_path)
