"""The plan agrees with what is then run, and says what does not fit."""

import json
import re
import shutil

import numpy as np
import pytest

from video4spatial.cameras import parse_trajectory
from video4spatial.cli.errors import UserError
from video4spatial.cli.plan import _duration, main
from video4spatial.pipelines import ContextMaterial, plan_context
from video4spatial.pretrained import PUBLIC_MODELS


def planned(tmp_path, *arguments) -> dict:
    """The figures of a plan by row and name."""
    path = tmp_path / "plan.json"
    main([*map(str, arguments), "--json", str(path)])
    rows = json.loads(path.read_text())["rows"]
    return {row["name"]: {name: cell["value"] for name, cell in row["metrics"].items()} for row in rows}


def test_the_plan_of_a_model_folder_is_what_its_pipeline_holds(tiny_model_folder, tiny_pipeline, random_frames, tmp_path):
    figures = planned(tmp_path, "--model", tiny_model_folder, "--context-frames", 5)
    context = tiny_pipeline.encode_context(random_frames(0, 5), np.arange(5) / 4)
    assert figures["tokens"] == {"context": context.cache.num_tokens, "targets": 9 * 4}
    assert figures["memory"]["cache_bytes"] == context.cache.num_bytes
    modules = tiny_pipeline.transformer, tiny_pipeline.vae
    assert figures["memory"]["weights_bytes"] == sum(p.numel() * 4 for module in modules for p in module.parameters())
    assert figures["full"]["total_flops"] > figures["cached"]["total_flops"] > 16 * figures["cached"]["step_flops"]


@pytest.mark.parametrize("name", ["stride", "frustum", "far_pooled", "coarse_to_fine"])
def test_a_planned_context_is_what_its_pipeline_holds(name, tiny_model_folder, tiny_pipeline, random_frames, tmp_path):
    frames, times, cameras = random_frames(0, 7), np.arange(7) / 4, parse_trajectory("right 1m", 7)
    pool = {"pool": 2} if name in ("far_pooled", "coarse_to_fine") else {}
    plan = plan_context(name, ContextMaterial(frames, times, cameras, -1), 3, **pool)
    context = tiny_pipeline.encode_context(frames, times, cameras, plan=plan)
    options = ["--plan-pool", 2] if pool else []
    model = ("--model", tiny_model_folder, "--context-frames", 7, "--known-cameras")
    figures = planned(tmp_path, *model, "--plan", name, "--plan-budget", 3, *options)
    assert figures["tokens"]["context"] == context.cache.num_tokens and figures["memory"]["cache_bytes"] == context.cache.num_bytes
    assert figures["planned"]["total_flops"] < figures["cached"]["total_flops"] == planned(tmp_path, *model)["cached"]["total_flops"]
    assert ("coarse_steps" in figures["planned"]) == (name == "coarse_to_fine")


def test_how_the_cache_is_kept_and_what_guidance_compares_with(tiny_model_folder, tmp_path):
    def figures(*arguments):
        return planned(tmp_path, "--model", tiny_model_folder, "--context-frames", 40, *arguments)

    plain = figures()
    narrow, away = figures("--cache-dtype", "bfloat16"), figures("--cache-device", "cpu")
    assert 2 * narrow["memory"]["cache_bytes"] == plain["memory"]["cache_bytes"] == away["memory"]["offloaded_bytes"]
    assert away["memory"]["device_peak_bytes"] < plain["memory"]["device_peak_bytes"]
    guided = figures("--guidance-scale", 2)["cached"]["step_flops"]
    separate = figures("--guidance-scale", 2, "--context-scale", 1.5)["cached"]["step_flops"]
    assert plain["cached"]["step_flops"] < guided < separate
    assert figures("--known-cameras")["cached"]["step_flops"] > plain["cached"]["step_flops"]


@pytest.mark.parametrize(
    "name, billions, tokens", [("wan-2.1-1.3b", 1.42, 1560), ("wan-2.1-14b", 14.29, 1560), ("wan-2.2-5b", 5.0, 880)]
)
def test_public_models_have_their_published_size(name, billions, tokens, tmp_path):
    from video4spatial.models import Video4SpatialTransformer3DModel
    from video4spatial.models.cost import count_parameters

    config = PUBLIC_MODELS[name].transformer
    published = count_parameters(Video4SpatialTransformer3DModel, config | {"camera_channels": None})
    assert published / 1e9 == pytest.approx(billions, rel=0.01)
    figures = planned(tmp_path, "--model", name, "--context-frames", 337, "--chunk-length", 337)
    assert figures["tokens"]["context"] == 85 * tokens
    width = 128 * config["num_attention_heads"]
    assert figures["memory"]["cache_bytes"] == 2 * config["num_layers"] * 85 * tokens * width * 2


def test_what_is_shown(capsys):
    main("--model wan-2.1-1.3b --context-frames 337 --size 832x480 --frames 80 --guidance-scale 3 --device-memory 24".split())
    shown = capsys.readouterr().out
    assert "context tokens  525,720 = 337 latents of 1560" in shown and "target tokens   32,760 = 21 latents" in shown
    assert "80 frames are generated as 81 = 1 + 4 * k" in shown and "in longer chunks (--chunk-length) 4 frames share one" in shown
    assert "times as fast" in shown and "peak while denoising" in shown and "context cache" in shown


def test_seconds_of_this_machine_and_strange_sizes_are_said(capsys):
    main(["--model", "rooms", "--size", "512x128"])
    shown = capsys.readouterr().out
    assert re.search(r"on this machine \((cpu|cuda), .*FLOP per second in products of matrices\) at least [\d.]+ (s|minutes|hours)", shown)
    assert "note: pictures of 512x128 are further from what the model knows" in shown
    main(["--model", "rooms"])
    assert "further from" not in capsys.readouterr().out


@pytest.mark.parametrize("seconds, words", [(0.5, "0.5 s"), (119, "119 s"), (150, "2.5 minutes"), (7200, "2 hours"), (1e8, "1,157 days")])
def test_durations_in_words(seconds, words):
    assert _duration(seconds) == words


def test_whether_it_fits_and_what_would(capsys):
    def verdict(*arguments):
        main(["--model", "wan-2.1-14b", *map(str, arguments)])
        return capsys.readouterr().out.splitlines()[-1]

    assert verdict("--context-frames", 1, "--device-memory", 80).startswith("fits: it needs ")
    options = ("--chunk-length", 337, "--context-frames", 337, "--device-memory", 80)
    suggested = verdict(*options)
    assert suggested.startswith("does not fit: it needs ") and suggested.endswith(" would")
    words = suggested.split("; ")[1].split()[:-1]  # --context-frames N --chunk-length N
    assert verdict(*words, "--device-memory", 80).startswith("fits")
    assert not verdict(*(f"{int(w) + 4}" if w.isdigit() else w for w in words), "--device-memory", 80).startswith("fits")
    assert "no shorter context would" in verdict("--context-frames", 9, "--device-memory", 8)


def test_a_configuration_is_enough(tiny_model_folder, tmp_path, capsys):
    folder = tmp_path / "bare"
    shutil.copytree(tiny_model_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    main(["--model", str(folder)])
    config = json.loads((folder / "transformer" / "config.json").read_text()) | {"in_channels": 16, "out_channels": 16}
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "config.json").write_text(json.dumps(config | {"attention_mode": "full"}))
    capsys.readouterr()
    main(["--model", str(alone), "--guidance-scale", "2", "--null-context", "noise"])
    shown = capsys.readouterr().out
    assert "the autoencoder is taken to be that of Wan 2.1" in shown and "nothing of its context can be cached" in shown
    assert "sampling will refuse this: guidance with a null context 'noise' needs a model trained with it" in shown
    assert "context cached" not in shown
    main(["--model", str(alone / "config.json")])


def test_mistakes_say_what_to_do(tiny_model_folder, tmp_path):
    def mistake(*arguments):
        with pytest.raises(UserError) as error:
            main(list(map(str, arguments)))
        return str(error.value)

    assert "unknown model 'wan-2.1' (did you mean 'wan-2." in mistake("--model", "wan-2.1")
    assert mistake("--size", "832") == "--size '832': expected width x height in pixels, such as 832x480"
    wrong = mistake("--model", "wan-2.1-1.3b", "--size", "830x480")
    assert wrong == "size 830x480: this model takes multiples of 16x16 pixels; try --size 832x480"
    assert "expected 1 + 4 * k, and a divisor of 81" in mistake("--model", "wan-2.1-1.3b", "--chunk-length", 5)
    assert mistake("--plan", "stride") == "--plan stride needs --plan-budget, the most context frames it keeps in full"
    assert "add --known-cameras" in mistake("--plan", "frustum", "--plan-budget", 4)
    assert "without a plan that averages frames" in mistake("--plan", "stride", "--plan-budget", 4, "--plan-pool", 2)
    wrong = mistake("--model", "wan-2.1-1.3b", "--plan", "far_pooled", "--plan-budget", 9)
    assert "832x480 are 52x30 tokens, which cannot be averaged over squares of 4x4; choose another --plan-pool" in wrong
    (tmp_path / "config.json").write_text("{}")
    assert "not the configuration of a transformer, it lacks num_attention_heads" in mistake("--model", tmp_path)
    assert "no known autoencoder has its 4 latent channels" in mistake("--model", tiny_model_folder / "transformer")
    (tmp_path / "config.json").write_text("{")
    assert "not valid JSON" in mistake("--model", tmp_path / "config.json")
