"""What an autoencoder's pass holds in memory, by arithmetic on its configuration; no weights needed."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class AutoencoderCost:
    """Shape and memory of an autoencoder; made by `autoencoder_cost`.

    Args:
        spatial_compression: pixels per latent pixel along each picture axis.
        temporal_compression: frames per latent after the first; 1 takes every frame by itself.
        latent_channels: of the latents.
        encoder, decoder: resolution levels.
        pieces: whether a video passes latent by latent (Wan), or all pictures at once.
    """

    spatial_compression: int
    temporal_compression: int
    latent_channels: int
    encoder: tuple["Level", ...]
    decoder: tuple["Level", ...]
    pieces: bool

    def latent_count(self, frames: int) -> int:
        """Latents of a chunk.

        Args:
            frames: 1 + compression * k of them.
        """
        return 1 + (frames - 1) // self.temporal_compression

    def encode_bytes(self, frames: int, height: int, width: int, itemsize: int) -> int:
        """Most that encoding one chunk holds at once; an estimate from the largest feature maps.

        Args:
            frames: of the chunk.
            height, width: in pixels.
            itemsize: bytes per number.
        """
        # float32 frames as they are made and as they are given on, of which one may be cast
        return 2 * 3 * frames * height * width * 4 + self._maps(self.encoder, frames, height, width, itemsize)

    def decode_bytes(self, frames: int, height: int, width: int, itemsize: int) -> int:
        """Most that decoding a video holds at once; an estimate from the largest feature maps.

        Args:
            frames: of the video.
            height, width: in pixels.
            itemsize: bytes per number.
        """
        pixels = 3 * frames * height * width
        joined = 2 * pixels * itemsize if self.pieces else 0  # the pieces so far, and these with one more
        # three float32 copies while frames become bytes
        return max(joined + self._maps(self.decoder, frames, height, width, itemsize), 3 * pixels * 4)

    def _maps(self, levels: tuple["Level", ...], frames: int, height: int, width: int, itemsize: int) -> int:
        at_once = min(frames, self.temporal_compression) if self.pieces else frames
        fullest = max(level.block_values(at_once) // level.stride**2 for level in levels)
        kept = sum(level.kept_values(frames) // level.stride**2 for level in levels)
        return (fullest + kept) * height * width * itemsize


@dataclass(frozen=True)
class Level:
    """Residual blocks at one resolution.

    Args:
        stride: pixels per value along each picture axis.
        channels_in, channels_out: of the first block.
        convolutions: that keep their last two frames for the next piece of a video; 0 in a picture autoencoder.
    """

    stride: int
    channels_in: int
    channels_out: int
    convolutions: int = 0

    def block_values(self, frames: int) -> int:
        """Most values per place that a block holds.

        A picture's first block: input, normalised and activated state; the later ones: the level's input, their own, their state,
        and the two of the scaled sum. A video's: input and state, and the state lengthened and padded by two earlier frames.

        Args:
            frames: that pass at once.
        """
        wide, other = max(self.channels_in, self.channels_out), self.channels_in != self.channels_out
        if not self.convolutions:
            return frames * max(3 * self.channels_in, 5 * self.channels_out)
        lengthened = 2 * (frames + 2) if frames > 1 else 4
        return (2 * frames + lengthened) * wide + (frames * self.channels_out if other else 0)

    def kept_values(self, frames: int) -> int:
        """Values per place that are kept from piece to piece.

        Args:
            frames: of a piece.
        """
        return min(2, frames) * self.convolutions * self.channels_out


def autoencoder_cost(config: Mapping) -> AutoencoderCost:
    """The costs of an autoencoder.

    Args:
        config: of an `AutoencoderKLWan` or an `AutoencoderKL`.

    Raises:
        ValueError: for another class's.
    """
    if {"z_dim", "base_dim", "dim_mult"} <= set(config):
        return _wan_autoencoder_cost(config)
    if not {"block_out_channels", "latent_channels", "in_channels"} <= set(config):
        name = config.get("_class_name", "an unknown class")
        raise ValueError(f"autoencoder of {name}: expected the configuration of an AutoencoderKL or an AutoencoderKLWan.")
    patch = round((config["in_channels"] / 3) ** 0.5)
    widths = tuple(config["block_out_channels"])
    strides = [patch * 2**level for level in range(len(widths))]
    encoder = zip(strides, (widths[0], *widths), widths)
    decoder = zip(strides, (*widths[1:], widths[-1]), widths)
    return AutoencoderCost(
        spatial_compression=strides[-1], temporal_compression=1, latent_channels=config["latent_channels"],
        encoder=tuple(Level(*level) for level in encoder), decoder=tuple(Level(*level) for level in decoder), pieces=False,
    )  # fmt: skip


def _wan_autoencoder_cost(config: Mapping) -> AutoencoderCost:
    multiples, blocks = list(config["dim_mult"]), config["num_res_blocks"]
    patch, residual = config.get("patch_size") or 1, config.get("is_residual", False)
    strides = [patch * 2**level for level in range(len(multiples))]
    down = [config["base_dim"] * multiple for multiple in (1, *multiples)]
    up = [(config.get("decoder_base_dim") or config["base_dim"]) * multiple for multiple in (*multiples, multiples[-1])]
    # Wan 2.1 halves the channels as it upsamples; the lowest level comes from the middle block, which does not
    halved = [1 if residual or level == len(multiples) - 1 else 2 for level in range(len(multiples))]
    return AutoencoderCost(
        spatial_compression=config.get("scale_factor_spatial", strides[-1]),
        temporal_compression=config.get("scale_factor_temporal", 4),
        latent_channels=config["z_dim"],
        encoder=tuple(Level(s, i, o, 2 * blocks) for s, i, o in zip(strides, down, down[1:])),
        decoder=tuple(Level(s, i // h, o, 2 * (blocks + 1)) for s, i, o, h in zip(strides, up[1:], up, halved)),
        pieces=True,
    )  # fmt: skip
