"""`train.py fit` on a tiny configuration: what it leaves, exact resumption, mistakes."""

import json

import pytest
import torch
import yaml

from tests.conftest import TINY
from video4spatial import Video4SpatialPipeline
from video4spatial.cli.errors import exit_code
from video4spatial.cli.train import main
from video4spatial.media import open_video

CALLBACKS = "video4spatial.training.callbacks"


def write_config(folder, autoencoder, bank):
    """The shape of configs/train/rooms.yaml at a thousandth of its size; its path."""
    run = folder / "run"
    config = {
        "seed_everything": 0,
        "trainer": {
            "max_steps": 4,
            "accelerator": "cpu",
            "devices": 1,
            "log_every_n_steps": 1,
            "gradient_clip_val": 1.0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": str(run),
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": str(run), "name": "losses", "version": ""},
            },
            "callbacks": [
                {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.5}},
                {
                    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "init_args": {
                        "dirpath": str(run / "checkpoints"), "every_n_train_steps": 2, "save_top_k": -1,
                        "save_last": True, "filename": "{step}",
                    },
                },
                {
                    "class_path": f"{CALLBACKS}.ValidationVideos",
                    "init_args": {
                        "folder": str(run / "validation"), "every": 4, "clips": 1, "context_frames": 2,
                        "num_inference_steps": 1,
                    },
                },
                {
                    "class_path": f"{CALLBACKS}.ExportPipeline",
                    "init_args": {"folder": str(run / "pipeline"), "domain": "a test"},
                },
            ],
        },
        "model": {
            "class_path": "video4spatial.training.module.DenoiserModule",
            "init_args": {"transformer": {**TINY}, "warmup_steps": 2, "noise_shift": 5.0},
        },
        "data": {
            "class_path": "video4spatial.training.data.RoomsData",
            "init_args": {
                "bank": str(bank), "scenes": 2, "walk_frames": 12, "targets_per_scene": 2, "target_frames": 5, "size": 32,
                "frame_rate": 8.0, "batch_size": 2, "autoencoder": str(autoencoder), "latents": str(bank.with_name("latents")),
            },
        },
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def autoencoder(tiny_model_folder):
    return tiny_model_folder / "vae"


@pytest.fixture(scope="module")
def trained(command, autoencoder, tmp_path_factory):
    """The folder of a finished run of four steps."""
    folder = tmp_path_factory.mktemp("trained")
    config = write_config(folder, autoencoder, folder / "bank.safetensors")
    done = command("train.py", "fit", "--config", config, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_leaves_losses_videos_checkpoints_and_a_model(trained):
    run = trained / "run"
    assert len((run / "losses" / "metrics.csv").read_text().splitlines()) == 1 + 4
    (video,) = (run / "validation" / "step_0000004").glob("*.mp4")
    assert open_video(video).frame_rate == 8.0
    (line,) = (run / "validation" / "psnr.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 4 and 0 < json.loads(line)["psnr"][0] < 60
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"step=2.ckpt", "step=4.ckpt", "last.ckpt"}
    pipeline = Video4SpatialPipeline.from_pretrained(run / "pipeline")
    assert pipeline.config.domain == "a test" and pipeline.config.target_frames == 5
    assert pipeline.scheduler.config.shift == 5.0  # that of the training


def test_the_exported_model_has_the_averaged_weights(trained):
    pipeline = Video4SpatialPipeline.from_pretrained(trained / "run" / "pipeline")
    checkpoint = torch.load(trained / "run" / "checkpoints" / "step=4.ckpt", weights_only=True)
    averaged = {name.removeprefix("transformer."): value for name, value in checkpoint["state_dict"].items()}
    exported = pipeline.transformer.state_dict()
    assert averaged.keys() == exported.keys()
    assert all(torch.equal(averaged[name], exported[name]) for name in averaged)
    current = checkpoint["current_model_state"]
    assert any(not torch.equal(current[name], value) for name, value in checkpoint["state_dict"].items())


@pytest.fixture
def one_thread():
    """As the commands run in the tests: sums are added up in the order that the number of threads dictates."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_resumption_is_exact(trained, autoencoder, tmp_path, one_thread):
    """Two steps, then two more from `last`: bitwise the weights, their average and the optimiser of four at once."""
    config = write_config(tmp_path, autoencoder, trained / "bank.safetensors")
    checkpoints = tmp_path / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "last.ckpt").write_bytes((trained / "run" / "checkpoints" / "step=2.ckpt").read_bytes())
    main(["fit", "--config", str(config), "--ckpt_path", "last"])
    resumed, whole = (
        torch.load(folder / "run" / "checkpoints" / "step=4.ckpt", weights_only=True)
        for folder in (tmp_path, trained)
    )
    assert resumed["global_step"] == whole["global_step"] == 4
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(resumed[key][name], value) for name, value in whole[key].items())
    for one, other in zip(*(c["optimizer_states"][0]["state"].values() for c in (resumed, whole)), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in ("exp_avg", "exp_avg_sq", "step"))
    # Only the two steps that were missing were taken again.
    assert len((tmp_path / "run" / "losses" / "metrics.csv").read_text().splitlines()) == 1 + 2


def test_a_checkpoint_brings_weights_and_the_user_the_settings(trained, autoencoder, tmp_path):
    """Also one of the time when checkpoints did not name the class of the module."""
    config = write_config(tmp_path, autoencoder, trained / "bank.safetensors")
    checkpoint = torch.load(trained / "run" / "checkpoints" / "step=2.ckpt", weights_only=True)
    del checkpoint["hyper_parameters"]["_class_path"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    given = ["--ckpt_path", str(tmp_path / "old.ckpt"), "--model.learning_rate", "0"]
    main(["fit", "--config", str(config), *given])
    resumed = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert resumed["global_step"] == 4 and resumed["hyper_parameters"]["learning_rate"] == 0
    assert all(torch.equal(resumed["current_model_state"][n], value) for n, value in checkpoint["current_model_state"].items())


def test_bfloat16_with_clipped_gradients(trained, autoencoder, tmp_path):
    """What the configuration recommends for GPUs; Lightning refuses to clip there for fused optimisers."""
    config = write_config(tmp_path, autoencoder, trained / "bank.safetensors")
    given = ["--trainer.precision", "bf16-mixed", "--trainer.max_steps", "2", "--model.learning_rate", "3e-4"]
    main(["fit", "--config", str(config), *given])
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["learning_rate"] == 3e-4
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in checkpoint["state_dict"].values())


MISTAKES = {
    "data.scenez=3": "data: unknown key 'scenez' (did you mean 'scenes'?)",
    "trainer.max_steps=four": "trainer.max_steps: expected int, got four",
    "data.init_args.scenez=3": "data: unknown key 'scenez' (did you mean 'scenes'?)",
    "model.learning_rat=3": "model: unknown key 'learning_rat' (did you mean 'learning_rate'?)",
    "model.init_args.learning_rat=3": "model: unknown key 'learning_rat' (did you mean 'learning_rate'?)",
    "model.learning_rate=four": "model: learning_rate: expected float, got four",
    "model.class_path=nowhere.Module": "model: there is no class 'nowhere.Module'",
    "model=DenoiserModul": "model: there is no class 'DenoiserModul' (did you mean 'DenoiserModule'?)",
    "model.class_path=video4spatial.training.module.DenoiserModul": "(did you mean 'DenoiserModule'?)",
    "trainer.callbacks+=CompileBlock": "trainer.callbacks: there is no class 'CompileBlock' (did you mean 'CompileBlocks'?)",
    "trainer.precision=bf17": "trainer.precision: expected one of 32-true, bf16-mixed",
    "trainer.devices=foo": "trainer: `devices` selected with `CPUAccelerator` should be an int > 0",
    "model.transformer.num_heads=3": "model.transformer: unknown key 'num_heads' (did you mean 'num_attention_heads'?)",
    "trainer.callbacks.minutes=3": "has no 'minutes', which is of TimeBudget: put --config configs/train/budget.yaml after the other",
    "trainer.callbacks.domian=x": "trainer.callbacks: unknown key 'domian' (did you mean 'domain'?)",
    "model.transformer.in_channels=5": "do not fit the 4 latent channels",
    "data.batch_size=0": "batch_size 0 and scenes 2: expected at least 1 of each",
    "data.autoencoder=nowhere": "data.autoencoder: nowhere is not the folder of an autoencoder",
    "data.curriculum.context_frame=3": "did you mean",
    "ckpt_path=nowhere.ckpt": "--ckpt_path nowhere.ckpt: no such checkpoint",
    "ckpt_path=last": "there is no last checkpoint",
    "data.batch_size=10000000": "a training step of 10000000 examples will need about",
}


@pytest.mark.parametrize("argument", MISTAKES)
def test_mistakes_are_told_in_one_line(argument, trained, autoencoder, tmp_path, capfd):
    config = write_config(tmp_path, autoencoder, trained / "bank.safetensors")
    assert exit_code(main, ["fit", "--config", str(config), f"--{argument}"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ") and MISTAKES[argument] in line
    assert not (tmp_path / "run").exists()


def test_a_new_training_leaves_the_model_of_an_earlier_one(trained, autoencoder, tmp_path, capfd):
    config = write_config(tmp_path, autoencoder, trained / "bank.safetensors")
    kept = tmp_path / "run" / "pipeline"
    kept.mkdir(parents=True)
    (kept / "model_index.json").write_text("{}")
    config.write_text(config.read_text().replace(str(trained), str(tmp_path)))
    assert exit_code(main, ["fit", "--config", str(config), f"--trainer.callbacks.folder={kept}"]) == 2
    assert f"{kept} holds the model of an earlier training" in capfd.readouterr().err
    assert (kept / "model_index.json").read_text() == "{}"


def test_an_unknown_key_in_the_file_is_named(trained, autoencoder, tmp_path, capfd):
    config = write_config(tmp_path, autoencoder, trained / "bank.safetensors")
    config.write_text(config.read_text().replace("batch_size:", "batchsize:"))
    assert exit_code(main, ["fit", "--config", str(config)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line == "error: data: unknown key 'batchsize' (did you mean 'batch_size'?)"


def test_a_checkpoint_cut_short_is_named(trained, autoencoder, tmp_path, capfd):
    config = write_config(tmp_path, autoencoder, trained / "bank.safetensors")
    whole = (trained / "run" / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    assert exit_code(main, ["fit", "--config", str(config), "--ckpt_path", str(tmp_path / "half.ckpt")]) == 2
    assert "half.ckpt: the checkpoint is damaged or cut short" in capfd.readouterr().err


def curated_config(folder, dataset, autoencoder, **changes):
    """As `write_config`, on a curated data set."""
    config = yaml.safe_load(write_config(folder, autoencoder, folder / "no bank").read_text())
    config["data"] = {
        "class_path": "video4spatial.training.data.CuratedData",
        "init_args": {
            "folder": str(dataset), "size": 32, "batch_size": 2, "autoencoder": str(autoencoder), "latents": str(folder / "latents"),
            **changes,
        },
    }
    path = folder / "curated.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize("augmentation", [None, {"mirror_probability": 1.0, "occluder_probability": 1.0}])
def test_a_curated_data_set_trains_directly(augmentation, rooms_dataset, autoencoder, tmp_path, one_thread):
    """Both kinds of clips, from shards, exactly resumed; with validation videos of its own validation rooms."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
        config = curated_config(folder, rooms_dataset, autoencoder, augmentation=augmentation)
        resume = ["--ckpt_path", str(whole / "run" / "checkpoints" / "step=2.ckpt")] if folder == parts else []
        main(["fit", "--config", str(config), *resume])
    weights = [torch.load(f / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for f in (whole, parts)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert Video4SpatialPipeline.from_pretrained(whole / "run" / "pipeline").config.target_frames == 9
    (video,) = (whole / "run" / "validation" / "step_0000004").glob("*.mp4")
    assert video.name.startswith("rooms-validation-1")


def test_a_folder_that_is_no_data_set_is_named(autoencoder, tmp_path, capfd):
    config = curated_config(tmp_path, tmp_path / "nothing", autoencoder)
    assert exit_code(main, ["fit", "--config", str(config)]) == 2
    assert "no manifest there" in capfd.readouterr().err
