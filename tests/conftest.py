"""Tiny real parts, built once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from diffusers import AutoencoderKL, AutoencoderKLWan, FlowMatchEulerDiscreteScheduler

from video4spatial.clips import Clip
from video4spatial.clips.simulated import simulated_navigation_clip
from video4spatial.media import write_images, write_video
from video4spatial.models import Video4SpatialTransformer3DModel
from video4spatial.pipelines import Video4SpatialPipeline
from video4spatial.simulation.capture import simulated_capture
from video4spatial.training.autoencoder import build_autoencoder

TINY = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "freq_dim": 16,
    "ffn_dim": 32,
    "num_layers": 2,
    "camera_channels": 6,
    "camera_frequencies": 2,
    "geometry_heads": True,
}


def seeded_transformer(**changes) -> Video4SpatialTransformer3DModel:
    """A tiny transformer whose zero-initialised parts are random too, so that every path shows in the output."""
    torch.manual_seed(0)
    model = Video4SpatialTransformer3DModel(**{**TINY, **changes}).eval()
    for name, parameter in model.named_parameters():
        if "camera" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(scope="session")
def tiny_vae() -> AutoencoderKL:
    """A picture autoencoder, 8-fold, with statistics in its config."""
    torch.manual_seed(0)
    vae = build_autoencoder((8,), latent_channels=4).eval()
    vae.register_to_config(latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[0.5, 1.0, 2.0, 1.5])
    return vae


@pytest.fixture(scope="session")
def tiny_wan_vae() -> AutoencoderKLWan:
    """A video autoencoder, 8-fold in space and 4-fold in time."""
    torch.manual_seed(0)
    return AutoencoderKLWan(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    ).eval()


@pytest.fixture(scope="session")
def tiny_pipeline(tiny_vae) -> Video4SpatialPipeline:
    """A pipeline of tiny parts at 32 x 32 pixels."""
    pipeline = Video4SpatialPipeline(
        tiny_vae, seeded_transformer(), FlowMatchEulerDiscreteScheduler(shift=3.0), height=32, width=32, domain="noise"
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def tiny_model_folder(tiny_pipeline, tmp_path_factory) -> Path:
    """The tiny pipeline as a model folder; copy it before changing it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def random_frames():
    """Function: a seed and a count to uint8 frames [N, 32, 32, 3]."""
    return lambda seed, count: np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def rooms_dataset(tmp_path_factory) -> Path:
    """A curated data set of two training rooms and one for validation, pictures of 32 x 32 in shards; copy it before changing it."""
    from data_curation.build import Source, Work, build
    from data_curation.shards import ShardSettings

    folder = tmp_path_factory.mktemp("datasets") / "rooms"
    options = {"num_frames": 64, "size": 64}
    sources = [Source("train:3-4", options=options), Source("validation:1", options=options)]
    build(sources, folder, shards=ShardSettings(height=32, width=32, clips=16), work=Work(executor="serial"))
    return folder


@pytest.fixture(scope="session")
def clip() -> Clip:
    """A simulated navigation clip of 5 target frames and 12 of context."""
    return simulated_navigation_clip(2_050_000, num_frames=5, walk_frames=24, context_size=12)


@pytest.fixture(scope="session")
def other_clip() -> Clip:
    """The like in another scene."""
    return simulated_navigation_clip(2_050_001, num_frames=5, walk_frames=24, context_size=12)


@pytest.fixture(scope="session")
def posed_captures(tmp_path_factory) -> Path:
    """A folder of walks through simulated rooms, written as real captures are: `kitchen` as deep-video-mvs does, with depth of
    every fourth frame, `hall/seq-01` as 7-Scenes does, without depth, and `tour`, a squashed video with RealEstate10K cameras.
    """
    folder = tmp_path_factory.mktemp("captures")
    walk = simulated_capture(2_050_000, 64, 40, 60, frame_rate=8.0)
    frames, poses = walk.read_frames(range(64)), walk.cameras.camera_to_world.numpy()
    write_images(folder / "kitchen" / "images", frames)
    np.savetxt(folder / "kitchen" / "poses.txt", poses.reshape(64, 16))
    np.savetxt(folder / "kitchen" / "K.txt", walk.cameras.pixel_intrinsics(40, 60)[0].numpy())
    (folder / "kitchen" / "depth").mkdir()
    names = sorted(path.stem for path in (folder / "kitchen" / "images").iterdir())
    for index in range(0, 64, 4):
        depth = (1000 * walk.read_depth([index])[0]).round().astype(np.uint16)
        Image.fromarray(depth).save(folder / "kitchen" / "depth" / f"{names[index]}.png")

    walk = simulated_capture(2_050_001, 40, 40, 60, frame_rate=8.0)
    (folder / "hall" / "seq-01").mkdir(parents=True)
    for index, (frame, pose) in enumerate(zip(walk.read_frames(range(40)), walk.cameras.camera_to_world.numpy(), strict=True)):
        Image.fromarray(frame).save(folder / "hall" / "seq-01" / f"frame-{4 * index:06d}.color.png")
        np.savetxt(folder / "hall" / "seq-01" / f"frame-{4 * index:06d}.pose.txt", pose)
    np.savetxt(folder / "hall" / "intrinsics.K.txt", walk.cameras.pixel_intrinsics(40, 60)[0].numpy())

    walk = simulated_capture(2_050_002, 16, 40, 72)
    (folder / "tour" / "poses").mkdir(parents=True)
    to_camera = np.linalg.inv(walk.cameras.camera_to_world.numpy())[:, :3] * [1, 1, 1, 2.0]
    fx, fy, cx, cy = (float(walk.cameras.intrinsics[0][place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
    lines = [f"{250_000 * i} {fx} {fy} {cx} {cy} 0 0 {' '.join(map(str, row.ravel()))}" for i, row in enumerate(to_camera)]
    (folder / "tour" / "poses" / "abc.txt").write_text("https://example.org/tour\n" + "\n".join(lines) + "\n")
    write_video(folder / "tour" / "videos" / "abc.mp4", walk.read_frames(range(16))[:, :, ::3].repeat(2, axis=2), 4.0)
    return folder
