"""Loading of models, quietly, and with a word to the user about what takes long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from video4spatial.cli.terminal import note, stage
from video4spatial.pretrained import ModelFolder

if TYPE_CHECKING:
    from video4spatial.pipelines import Video4SpatialPipeline
    from video4spatial.pipelines.loading import LoadingSettings


def quiet_diffusers() -> None:
    """No progress bar while parts load, no hints to developers."""
    from diffusers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()


def load_pipeline(folder: ModelFolder, settings: LoadingSettings | None = None) -> Video4SpatialPipeline:
    """The pipeline of a checked model folder, which shows no progress of its own.

    Args:
        folder: of the model.
        settings: where and how it computes; None for the defaults of `LoadingSettings`.

    Raises:
        ValueError: for a device or an attention back end that this machine does not have.
    """
    with stage("loading the model"):
        # Imported here: commands must answer --help and mistakes before the seconds that this takes.
        from video4spatial.pipelines import loading

        quiet_diffusers()
        settings = settings or loading.LoadingSettings()
        pipeline = loading.load_pipeline(folder, settings)
        pipeline.set_progress_bar_config(disable=True)
    if settings.compile:
        note("the transformer is compiled while it is first used: the first steps take much longer than the others.")
    return pipeline
