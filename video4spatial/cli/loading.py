"""Loading of models, quietly and onto the best device."""

from video4spatial.cli.terminal import stage
from video4spatial.pretrained import ModelFolder


def quiet_diffusers() -> None:
    """No progress bar while parts load, no hints to developers."""
    from diffusers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()


def load_pipeline(folder: ModelFolder):
    """The pipeline of a checked model folder, on the GPU where there is one."""
    with stage("loading the model"):
        # Imported here: commands must answer --help and mistakes before the seconds that this takes.
        import torch

        from video4spatial.pipelines import Video4SpatialPipeline

        quiet_diffusers()
        pipeline = Video4SpatialPipeline.from_pretrained(folder.path)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to("cuda") if torch.cuda.is_available() else pipeline
