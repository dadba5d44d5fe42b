import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel

from tests.models.conditions.test_text import tiny_text_parts
from video4spatial.cameras import parse_trajectory
from video4spatial.clips import Navigate
from video4spatial.models import Video4SpatialTransformer3DModel
from video4spatial.models.wan_weights import export_wan, save_wan_lora
from video4spatial.pipelines.loading import flow_scheduler, load_wan_pipeline

TINY_WAN = {
    "num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 4, "out_channels": 4, "text_dim": 32, "freq_dim": 16,
    "ffn_dim": 64, "num_layers": 2, "rope_max_seq_len": 64,
}  # fmt: skip
PUBLIC = {  # of the published config.json files: sizes, latent channels; and the parameters they make
    "2.1 T2V 1.3B": ({"num_layers": 30, "num_attention_heads": 12, "ffn_dim": 8960}, 16, 1_418_996_800),
    "2.1 T2V 14B": ({"num_layers": 40, "num_attention_heads": 40, "ffn_dim": 13824}, 16, 14_288_491_584),
    "2.2 TI2V 5B": ({"num_layers": 30, "num_attention_heads": 24, "ffn_dim": 14336}, 48, 4_999_787_712),
}
COMMON = {
    "attention_head_dim": 128, "text_dim": 4096, "freq_dim": 256, "eps": 1e-6, "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads", "patch_size": (1, 2, 2), "image_dim": None, "added_kv_proj_dim": None,
    "rope_max_seq_len": 1024, "pos_embed_seq_len": None,
}  # fmt: skip


def tiny_wan(**changes) -> WanTransformer3DModel:
    torch.manual_seed(0)
    return WanTransformer3DModel(**{**TINY_WAN, **changes}).eval()


@pytest.fixture
def wan(tmp_path):
    """A tiny Wan transformer, saved in tmp_path / "wan" / "transformer"."""
    model = tiny_wan()
    model.save_pretrained(tmp_path / "wan" / "transformer")
    return model


@pytest.fixture
def folder(wan, tmp_path):
    """Pipeline folder in the manner of Wan 2.2 TI2V 5B, without text encoder."""
    torch.manual_seed(0)
    vae = AutoencoderKLWan(
        base_dim=8, decoder_base_dim=8, z_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1, temperal_downsample=[False, True, True],
        is_residual=True, in_channels=12, out_channels=12, patch_size=2, scale_factor_spatial=16,
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[0.5, 1.0, 2.0, 1.5],
    )  # fmt: skip
    vae.save_pretrained(tmp_path / "wan" / "vae")
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)
    scheduler.save_pretrained(tmp_path / "wan" / "scheduler")
    index = {
        "_class_name": "WanPipeline", "boundary_ratio": None, "expand_timesteps": True,
        "scheduler": ["diffusers", "UniPCMultistepScheduler"], "text_encoder": [None, None], "tokenizer": [None, None],
        "transformer": ["diffusers", "WanTransformer3DModel"], "transformer_2": [None, None],
        "vae": ["diffusers", "AutoencoderKLWan"],
    }  # fmt: skip
    (tmp_path / "wan" / "model_index.json").write_text(json.dumps(index))
    return tmp_path / "wan"


def inputs(dtype=torch.float32, frames: int = 3):
    """Latents [2, 4, frames, 8, 6] and text [2, 7, 32]."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, frames, 8, 6, generator=generator)
    return latents.to(dtype), torch.randn(2, 7, 32, generator=generator).to(dtype)


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
def test_with_cameras_it_still_computes_what_wan_does(folder, wan, dtype, tolerance):
    ours = Video4SpatialTransformer3DModel.from_wan(folder, geometry_heads=True, torch_dtype=dtype)
    theirs = WanTransformer3DModel.from_pretrained(folder / "transformer", torch_dtype=dtype)
    latents, text = inputs(dtype)
    rays = torch.randn(2, 3, 24, 8, 6).to(dtype)
    scalar, per_frame = torch.tensor([500.0, 20.0]), torch.tensor([[0.0, 700.0, 30.0], [0.0, 999.0, 999.0]])
    with torch.no_grad():
        for timestep, per_token in ((scalar, scalar), (per_frame, per_frame.repeat_interleave(4 * 3, 1))):
            expected = theirs(latents, per_token, text).sample
            given = ours(latents, timestep, text, rays=rays, scene_rays=rays).sample
            torch.testing.assert_close(given, expected, atol=tolerance, rtol=0)
            assert torch.equal(given, ours(latents, timestep, text).sample)
    assert not ours.training and ours.config.camera_channels == 24 and ours.config.text_dim == 32
    assert {parameter.device.type for parameter in ours.parameters()} == {"cpu"}


@pytest.mark.parametrize("name", ["wan", "wan/transformer"])
def test_either_folder_and_own_options(folder, tmp_path, name):
    options = {"attention_mode": "full", "spatial_positions": "compass", "null_context": ("absent", "noise")}
    model = Video4SpatialTransformer3DModel.from_wan(tmp_path / name, **options, camera_channels=12)
    assert {key: model.config[key] for key in options} == options and model.config.camera_channels == 12
    assert not hasattr(Video4SpatialTransformer3DModel.from_wan(tmp_path / name, camera_channels=None), "camera_encoder")


def test_new_modules_start_as_in_a_fresh_model(folder):
    model = Video4SpatialTransformer3DModel.from_wan(folder, geometry_heads=True)
    assert model.camera_encoder.hidden.weight.std() > 0 and not model.camera_encoder.proj_out.weight.any()
    assert model.geometry.points.weight.std() > 0 and not model.null_camera.any()
    assert all(parameter.requires_grad for parameter in model.parameters())
    latents, text = inputs()
    model(latents, torch.tensor([10.0, 20.0]), text, rays=torch.ones(2, 3, 24, 8, 6)).sample.square().mean().backward()
    assert model.camera_encoder.proj_out.weight.grad.abs().max() > 0


def test_types_follow_the_rule_of_diffusers(folder):
    model = Video4SpatialTransformer3DModel.from_wan(folder, torch_dtype=torch.bfloat16)
    theirs = WanTransformer3DModel.from_pretrained(folder / "transformer", torch_dtype=torch.bfloat16).state_dict()
    ours = model.state_dict()
    assert {name: ours[name].dtype for name in theirs} == {name: tensor.dtype for name, tensor in theirs.items()}
    assert model.dtype == torch.bfloat16 and model.camera_encoder.hidden.weight.dtype == torch.bfloat16


def test_sharded_weights(wan, tmp_path):
    wan.save_pretrained(tmp_path / "sharded", max_shard_size="50KB")
    shards = sorted((tmp_path / "sharded").glob("*.safetensors"))
    assert len(shards) > 2
    ours = Video4SpatialTransformer3DModel.from_wan(tmp_path / "sharded").state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in wan.state_dict().items())
    shards[1].unlink()
    with pytest.raises(ValueError, match=f"lacks {shards[1].name}: expected the weights as safetensors"):
        Video4SpatialTransformer3DModel.from_wan(tmp_path / "sharded")


def test_weights_that_do_not_fit_are_named_together(folder):
    from safetensors.torch import load_file, save_file

    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["blocks.1.attn2.to_q.weight"]
    weights["blocks.0.attn9.weight"] = torch.zeros(2)
    weights["proj_out.bias"] = torch.zeros(3)
    save_file(weights, file)
    with pytest.raises(ValueError) as error:
        Video4SpatialTransformer3DModel.from_wan(folder)
    for part in ("missing: blocks.1.attn2.to_q.weight", "unknown: blocks.0.attn9.weight", r"proj_out.bias [3] instead of [16]"):
        assert part in str(error.value)


def test_pickled_and_damaged_weights_are_refused(folder):
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    with pytest.raises(ValueError, match="damaged or cut short"):
        Video4SpatialTransformer3DModel.from_wan(folder)
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(ValueError, match=r"lacks diffusion_pytorch_model.safetensors.*\(.bin\) are not read"):
        Video4SpatialTransformer3DModel.from_wan(folder)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"image_dim": 1280, "added_kv_proj_dim": 48}, "image_dim, added_kv_proj_dim set: it has Wan's image branch"),
        ({"in_channels": 36, "out_channels": 16}, "in_channels=36 but out_channels=16: it also takes a picture"),
        ({"quantization_config": {}}, "unknown options quantization_config"),
        ({"_class_name": "WanVACETransformer3DModel"}, "holds a WanVACETransformer3DModel.*expected Wan 2.1 T2V 1.3B"),
        ({"_class_name": "WanModel"}, "folder whose name ends in -Diffusers"),
        ({"_class_name": "Video4SpatialTransformer3DModel"}, "load it with from_pretrained"),
    ],
)
def test_other_models_are_refused(folder, changes, message):
    rewrite(folder / "transformer" / "config.json", **changes)
    with pytest.raises(ValueError, match=message):
        Video4SpatialTransformer3DModel.from_wan(folder)


@pytest.mark.parametrize("changes", [{"transformer_2": ["diffusers", "WanTransformer3DModel"]}, {"boundary_ratio": 0.875}])
def test_models_of_two_transformers_are_refused(folder, changes):
    rewrite(folder / "model_index.json", **changes)
    for given in (folder, folder / "transformer"):
        with pytest.raises(ValueError, match="has two transformers.*Wan 2.2 A14B"):
            Video4SpatialTransformer3DModel.from_wan(given)


def test_other_mistakes_are_named(folder):
    with pytest.raises(ValueError, match="num_layers: set by the Wan model.*attention_mode"):
        Video4SpatialTransformer3DModel.from_wan(folder, num_layers=3)
    with pytest.raises(ValueError, match="there is no folder .*nowhere: expected Wan 2.1"):
        Video4SpatialTransformer3DModel.from_wan(folder / "nowhere")
    with pytest.raises(ValueError, match="attention_mode='window'"):
        Video4SpatialTransformer3DModel.from_wan(folder, attention_mode="window")


@pytest.mark.parametrize("sizes, channels, parameters", PUBLIC.values(), ids=PUBLIC)
def test_published_models_by_shape(sizes, channels, parameters):
    config = {**sizes, "in_channels": channels, "out_channels": channels}
    with torch.device("meta"):
        theirs = WanTransformer3DModel(**COMMON, **config)
        ours = Video4SpatialTransformer3DModel(**COMMON, **config)
        extended = Video4SpatialTransformer3DModel(**COMMON, **config, camera_channels=24, geometry_heads=True)
    expected = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == expected
    assert sum(shape.numel() for shape in expected.values()) == parameters
    own = {name.split(".")[0] for name in extended.state_dict().keys() - expected.keys()}
    assert own == {"camera_encoder", "scene_camera_encoder", "null_camera", "null_scene_camera", "geometry"}


def test_the_shift_of_wan_is_kept(folder, tmp_path):
    scheduler, theirs = flow_scheduler(folder / "scheduler"), UniPCMultistepScheduler.from_pretrained(folder / "scheduler")
    assert scheduler.config.shift == 5.0
    scheduler.set_timesteps(8)
    theirs.set_timesteps(8)
    # UniPC spreads its steps a little differently near the clean end
    torch.testing.assert_close(scheduler.sigmas[:4], theirs.sigmas[:4], atol=0.05, rtol=0)
    scheduler.save_pretrained(tmp_path / "own")
    assert flow_scheduler(tmp_path / "own").config.shift == 5.0
    rewrite(folder / "scheduler" / "scheduler_config.json", use_dynamic_shifting=True)
    with pytest.raises(ValueError, match="expected a constant flow_shift"):
        flow_scheduler(folder / "scheduler")


def test_a_pipeline_from_wan_walks_through_a_scene(folder, tmp_path):
    pipeline = load_wan_pipeline(folder, height=64, width=64, frame_rate=24.0)
    assert pipeline.config.frame_rate == 24.0 and pipeline.scheduler.config.shift == 5.0 and pipeline.vae.config.z_dim == 4
    pipeline.set_progress_bar_config(disable=True)
    frames = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    context = pipeline.encode_context(frames, chunk_length=5)
    output = pipeline(context, Navigate(parse_trajectory("forward 1", 5)), num_inference_steps=2)
    assert output.frames.shape == (5, 64, 64, 3) and output.latents.shape == (1, 4, 2, 4, 4)


def test_a_pipeline_from_wan_reads_text_and_is_saved(folder, tmp_path):
    text_encoder, tokenizer = tiny_text_parts()
    text_encoder.save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    pipeline = load_wan_pipeline(folder, height=64, width=64, torch_dtype=torch.bfloat16)
    assert pipeline.text_encoder.dtype == pipeline.transformer.dtype == torch.bfloat16 and pipeline.vae.dtype == torch.float32
    assert pipeline.tokenizer("a chair").input_ids == tokenizer("a chair").input_ids
    pipeline.set_progress_bar_config(disable=True)
    context = pipeline.encode_context(np.zeros((1, 64, 64, 3), dtype=np.uint8))
    cameras, latents = parse_trajectory("forward 1", 5), torch.randn(1, 4, 1, 4, 4, dtype=torch.bfloat16)
    told = [
        pipeline(context, instruction, latents=latents, num_inference_steps=1).latents
        for instruction in (Navigate(cameras, "a chair"), Navigate(cameras, "a door"))
    ]
    assert not torch.equal(*told)
    pipeline.save_pretrained(tmp_path / "saved")
    again = type(pipeline).from_pretrained(tmp_path / "saved")
    assert again.config.num_inference_steps == 50 and again.text_encoder.config.d_model == 32


def test_parts_that_do_not_fit_are_named_together(folder):
    other = tiny_wan(in_channels=8, out_channels=8)
    shutil.rmtree(folder / "transformer")
    other.save_pretrained(folder / "transformer")
    with pytest.raises(ValueError) as error:
        load_wan_pipeline(folder, height=48, width=64, camera_channels=6)
    for part in ("4 latent channels, the transformer takes 8", "camera_channels=6", "height 48, width 64: expected multiples"):
        assert part in str(error.value)
    rewrite(folder / "vae" / "config.json", _class_name="AutoencoderKL")
    with pytest.raises(ValueError, match="vae holds a AutoencoderKL: expected an AutoencoderKLWan"):
        load_wan_pipeline(folder, height=64, width=64)


def adapted(model, seed: int = 0, **settings):
    """The model with a random adapter of rank 3."""
    peft = pytest.importorskip("peft")
    modules = ["to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2"]
    model.add_adapter(peft.LoraConfig(r=3, lora_alpha=6, **{"target_modules": modules, **settings}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


@torch.no_grad()
def results(model):
    latents, text = inputs()
    return model(latents, torch.tensor([500.0, 20.0]), text).sample


def test_lora_of_wan_loads_here(folder, wan, tmp_path):
    pytest.importorskip("peft")
    from diffusers import WanPipeline
    from peft.utils import get_peft_model_state_dict

    ours = Video4SpatialTransformer3DModel.from_wan(folder)
    plain, theirs = results(ours), adapted(wan)
    layers, metadata = get_peft_model_state_dict(theirs), theirs.peft_config["default"].to_dict()
    WanPipeline.save_lora_weights(
        tmp_path / "lora", transformer_lora_layers=layers, transformer_lora_adapter_metadata=metadata
    )
    ours.load_lora_adapter(tmp_path / "lora", adapter_name="style", use_safetensors=True)
    expected = results(theirs)
    assert (expected - plain).abs().max() > 0.01
    torch.testing.assert_close(results(ours), expected, atol=1e-5, rtol=0)
    ours.set_adapters("style", 0.0)
    torch.testing.assert_close(results(ours), plain, atol=1e-6, rtol=0)


def test_lora_trained_here_loads_in_wan(folder, wan, tmp_path):
    ours = adapted(Video4SpatialTransformer3DModel.from_wan(folder), seed=1)
    save_wan_lora(ours, tmp_path / "lora")
    plain = results(wan)
    wan.load_lora_adapter(tmp_path / "lora", use_safetensors=True)
    expected = results(ours)
    assert (expected - plain).abs().max() > 0.01
    torch.testing.assert_close(results(wan), expected, atol=1e-5, rtol=0)


def test_lora_that_wan_could_not_load_is_refused(folder, tmp_path):
    pytest.importorskip("peft")
    ours = Video4SpatialTransformer3DModel.from_wan(folder)
    with pytest.raises(ValueError, match="no adapter 'default': expected one made by add_adapter"):
        save_wan_lora(ours, tmp_path / "lora")
    adapted(ours, target_modules=["to_q", "hidden"])
    with pytest.raises(ValueError, match="changes camera_encoder.hidden, scene_camera_encoder.hidden, which Wan does not have"):
        save_wan_lora(ours, tmp_path / "lora")
    assert not (tmp_path / "lora").exists()


def test_what_came_from_wan_goes_back_bit_for_bit(folder, wan, tmp_path):
    pipeline = load_wan_pipeline(folder, height=64, width=64)
    pipeline.save_pretrained(tmp_path / "ours")
    (tmp_path / "back").mkdir()
    left_out = export_wan(tmp_path / "ours", tmp_path / "back")
    assert any("camera modules" in phrase for phrase in left_out)
    again, loading = WanTransformer3DModel.from_pretrained(tmp_path / "back" / "transformer", output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    expected = wan.state_dict()
    assert again.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.state_dict().items())
    assert {key: again.config[key] for key in TINY_WAN} == TINY_WAN and again.config.cross_attn_norm
    # and it can be the start of another model
    assert Video4SpatialTransformer3DModel.from_wan(tmp_path / "back").config.num_layers == 2
