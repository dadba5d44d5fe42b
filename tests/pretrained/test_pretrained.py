import json
import shutil

import pytest

from video4spatial import pretrained
from video4spatial.pretrained import ModelFolderError, read_model_folder, resolve_model


@pytest.fixture
def folder(tiny_model_folder, tmp_path):
    return shutil.copytree(tiny_model_folder, tmp_path / "model")


def test_a_folder_tells_its_settings(folder):
    model = read_model_folder(folder)
    assert (model.height, model.width, model.frame_rate, model.target_frames, model.domain) == (32, 32, 4.0, 9, "noise")


def test_names_resolve_to_shipped_folders(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    assert resolve_model("model") == folder
    with pytest.raises(ModelFolderError, match=r"no model 'modle' \(did you mean 'model'\?\).*built-in models: model"):
        resolve_model("modle")


def test_a_file_is_not_a_model(folder):
    with pytest.raises(ModelFolderError, match="is a file: expected a pipeline folder"):
        resolve_model(folder / "model_index.json")


def test_truncated_weights_are_named(folder):
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelFolderError, match=r"transformer/diffusion_pytorch_model\S+ is damaged or cut short"):
        read_model_folder(folder)


def test_all_problems_are_named_at_once(folder):
    (folder / "vae" / "config.json").write_text('{"half')
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    shutil.rmtree(folder / "scheduler")
    with pytest.raises(ModelFolderError) as caught:
        read_model_folder(folder)
    for part in ("vae/config.json cannot be used: not valid JSON", "transformer/ holds no weights", "scheduler/ is missing"):
        assert part in str(caught.value)


def test_a_missing_index_and_a_foreign_one_are_told_apart(folder):
    index = folder / "model_index.json"
    content = json.loads(index.read_text())
    del content["target_frames"]
    index.write_text(json.dumps(content))
    with pytest.raises(ModelFolderError, match="lacks target_frames"):
        read_model_folder(folder)
    index.unlink()
    with pytest.raises(ModelFolderError, match="model_index.json is missing"):
        read_model_folder(folder)


def test_a_missing_shard_is_named(folder):
    listing = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    listing.write_text(json.dumps({"weight_map": {"a": "part-2.safetensors"}}))
    with pytest.raises(ModelFolderError, match="transformer/part-2.safetensors is missing"):
        read_model_folder(folder)
