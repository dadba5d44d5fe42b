"""What is known of models without their weights."""

import json

import pytest

from video4spatial.pretrained import PUBLIC_MODELS, built_in_models, read_model_shape


def test_every_built_in_model_has_a_shape():
    for name in built_in_models():
        model = read_model_shape(name)
        assert model.dtype == "float32" and model.height == model.width == 128 and model.steps < 50


def test_a_transformer_alone_is_enough(tmp_path):
    config = PUBLIC_MODELS["wan-2.2-5b"].transformer
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in (tmp_path, tmp_path / "config.json"):
        model = read_model_shape(str(name))
        assert model.transformer == config and model.autoencoder == PUBLIC_MODELS["wan-2.2-5b"].autoencoder
        assert model.assumed == "the autoencoder is taken to be that of Wan 2.2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object"),
        ('{"ffn_dim": 8}', "it lacks num_attention_heads, attention_head_dim, num_layers"),
    ],
)
def test_what_is_no_transformer_is_named(text, message, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_model_shape(str(tmp_path))
    with pytest.raises(ValueError, match="unknown model 'wan-2.1-1.3' .did you mean 'wan-2.1-1.3b'"):
        read_model_shape("wan-2.1-1.3")
