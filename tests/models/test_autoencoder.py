import pytest
import torch

from tests.conftest import seeded_transformer
from video4spatial.models.autoencoder import latent_channels, load_autoencoder, read_autoencoder_config


@pytest.mark.parametrize("kind", ["tiny_vae", "tiny_wan_vae"])
def test_an_autoencoder_loads_as_the_class_that_its_folder_names(kind, request, tmp_path):
    saved = request.getfixturevalue(kind)
    saved.save_pretrained(tmp_path)
    loaded = load_autoencoder(tmp_path)
    assert type(loaded) is type(saved) and not loaded.training
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in saved.state_dict().items())
    assert latent_channels(loaded.config) == latent_channels(read_autoencoder_config(tmp_path)) == 4


def test_what_is_no_autoencoder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="not the folder of an autoencoder .no config.json."):
        load_autoencoder(tmp_path)
    seeded_transformer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="class Video4SpatialTransformer3DModel: expected an autoencoder, AutoencoderKL or AutoencoderKLWan"):
        load_autoencoder(tmp_path)
