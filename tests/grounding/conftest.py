"""Tiny detectors of the real classes with random weights, and a simulated scene whose truth is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from video4spatial.clips import Clip
from video4spatial.clips.simulated import simulated_grounding_clip
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.grounding.levelling import LevelScene
from video4spatial.simulation import generate_scene, render


def _clip_tokenizer(transformers):
    letters = [chr(code) for code in range(97, 123)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer({word: index for index, word in enumerate(words)}, [], model_max_length=16)


def _owlv2(transformers, folder: Path) -> None:
    config = transformers.Owlv2Config(
        text_config={"vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                     "max_position_embeddings": 16, "bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53},
        vision_config={"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32,
                       "patch_size": 8},
        projection_dim=16,
    )  # fmt: skip
    transformers.Owlv2ForObjectDetection(config).save_pretrained(folder)
    pictures = transformers.Owlv2ImageProcessor(size={"height": 32, "width": 32})
    transformers.Owlv2Processor(pictures, _clip_tokenizer(transformers)).save_pretrained(folder)


def _clipseg(transformers, folder: Path) -> None:
    config = transformers.CLIPSegConfig(
        text_config={"vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                     "max_position_embeddings": 16, "bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53},
        vision_config={"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32,
                       "patch_size": 8},
        projection_dim=16, extract_layers=[1, 2], reduce_dim=8, decoder_num_attention_heads=2, decoder_intermediate_size=16,
    )  # fmt: skip
    transformers.CLIPSegForImageSegmentation(config).save_pretrained(folder)
    pictures = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    transformers.CLIPSegProcessor(pictures, _clip_tokenizer(transformers)).save_pretrained(folder)


def _grounding_dino(transformers, folder: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "red", "chair", "lamp"]
    backbone = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2,
        out_features=["stage2", "stage3", "stage4"],
    )
    text = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_position_embeddings=64
    )
    config = transformers.GroundingDinoConfig(
        backbone_config=backbone, text_config=text, d_model=32, encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2,
        decoder_layers=2, decoder_ffn_dim=16, decoder_attention_heads=2, num_queries=8, num_feature_levels=3, max_text_len=64,
        two_stage=True, encoder_n_points=2, decoder_n_points=2, position_embedding_type="sine",
    )  # fmt: skip
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    tokenizer = transformers.BertTokenizer({word: index for index, word in enumerate(words)})
    pictures = transformers.GroundingDinoImageProcessor(size={"shortest_edge": 32, "longest_edge": 48})
    transformers.GroundingDinoProcessor(pictures, tokenizer).save_pretrained(folder)


@pytest.fixture(scope="session")
def detector_folders(tmp_path_factory) -> dict[str, Path]:
    """Folders of tiny detectors by kind."""
    transformers = pytest.importorskip("transformers")
    folders = {}
    for kind, write in {"owlv2": _owlv2, "clipseg": _clipseg, "grounding-dino": _grounding_dino}.items():
        torch.manual_seed(0)
        folders[kind] = tmp_path_factory.mktemp("detectors") / kind
        write(transformers, folders[kind])
    return folders


@pytest.fixture(scope="session")
def grounding_clip() -> Clip:
    """The way to a nightstand in a simulated flat, with 20 frames of context."""
    return simulated_grounding_clip(2_050_000, instance_id=_instance("nightstand"), walk_frames=48, context_size=20)


def _instance(label: str) -> int:
    return next(item.instance_id for item in generate_scene(2_050_000).objects if item.label == label)


@pytest.fixture(scope="session")
def true_scene(grounding_clip) -> LevelScene:
    """Its true geometry, in a world that is tilted and shifted, stood upright again by what cameras and surfaces say."""
    from video4spatial.cameras.rotations import matrices_from_vectors

    clip = grounding_clip
    tilt = torch.eye(4, dtype=torch.float64)
    tilt[:3, :3] = matrices_from_vectors(torch.tensor([0.9, 0.4, 0.2], dtype=torch.float64))
    tilt[:3, 3] = torch.tensor([3.0, -2.0, 1.0])
    count = len(clip.context_frames)
    geometry = SceneGeometry(
        clip.context_frames, clip.context_cameras.transformed(tilt), np.ones(count, bool), clip.context_depth,
        np.ones_like(clip.context_depth), ("",) * count, {"cameras": "given", "depth": "true", "scale": "given"},
    )  # fmt: skip
    return LevelScene.of(geometry)


@pytest.fixture(scope="session")
def instance_pictures(grounding_clip) -> np.ndarray:
    """[20, 64, 64] which object each pixel of the context shows."""
    return render(generate_scene(2_050_000), grounding_clip.context_cameras, 64, 64).instance
