"""Options of `sample.py`, and the typed settings that they become."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from video4spatial.cli.arguments import MOST_FRAMES, MOST_STEPS, Parser, integer, number, picture_size
from video4spatial.cli.errors import UserError, all_mistakes
from video4spatial.cli.output_folder import check_file
from video4spatial.conditioning.plan_registry import PLANS
from video4spatial.pretrained import ModelFolder, built_in_models

if TYPE_CHECKING:  # what takes seconds to import waits until the options are read: --help and mistakes must answer at once
    from video4spatial.pipelines import GenerationSettings
    from video4spatial.pipelines.loading import LoadingSettings

DEMO_FOLDER = "outputs/demo"


def demo_parser() -> Parser:
    """Options of `sample.py demo`."""
    parser = Parser("sample.py demo", "Follow a path through a simulated test scene and compare with the truth.")
    add = parser.add_argument
    add("--scene", metavar="N", type=integer(0), default=7,
        help="clip of the frozen test set, none of whose scenes was trained on (default %(default)s)")  # fmt: skip
    add("--known-cameras", action="store_true",
        help="also tell the model the cameras of the context (default: the video alone)")  # fmt: skip
    _add_sampling_options(parser)
    add("--output", metavar="DIR", help=f"folder to write (default {DEMO_FOLDER}, replaced each time)")
    return parser


def navigate_parser() -> Parser:
    """Options of `sample.py navigate`."""
    parser = Parser(
        "sample.py navigate",
        "Follow a camera path through the scene of a video.",
        "example:\n"
        "  python sample.py navigate --context room.mp4 --trajectory 'forward 0.5, left 30deg' --output outputs/room",
    )
    add = parser.add_argument
    add("--trajectory", metavar="PATH_OR_WORDS", required=True,
        help="camera path from the anchor: words such as 'forward 1.0, left 30deg' (metres, degrees; "
        "docs/conventions.md), or a camera or keyframe file")  # fmt: skip
    _add_footage_options(parser)
    _add_sampling_options(parser)
    add("--output", metavar="DIR", required=True, help="folder to write")
    return parser


def ground_parser() -> Parser:
    """Options of `sample.py ground`."""
    parser = Parser(
        "sample.py ground",
        "Find an object in the scene of a video, go there, and end on a view that shows it.",
        "examples:\n"
        "  python sample.py ground --context room.mp4 --region frame=12,box=0.4,0.3,0.6,0.8 --output outputs/lamp\n"
        "  python sample.py ground --context room.mp4 --target 'chair next to the window' --detector models/owlv2 --output outputs/chair",
    )
    add_target_options(parser)
    add = parser.add_argument
    add("--way", choices=("planned", "model"), default="planned",
        help="planned: the object is located in the scene's geometry, and a way through what was seen to be free is planned; model: the "
        "model imagines the way itself, if it was trained to (default %(default)s)")  # fmt: skip
    _add_footage_options(parser)
    _add_sampling_options(parser)
    add("--output", metavar="DIR", required=True, help="folder to write")
    return parser


def add_target_options(parser: Parser) -> None:
    """What is looked for: `--target`, `--region`, and what reads and doubts them.

    Args:
        parser: gets the options.
    """
    add = parser.add_argument
    add("--target", metavar="WORDS",
        help="the object in words, such as 'red chair' or 'the lamp on the desk'; needs --detector, or --region")  # fmt: skip
    add("--region", metavar="FRAME_AND_BOX",
        help="the object by a box or a mask on any frame of the video: frame=12,box=0.4,0.3,0.6,0.8 (left, top, right, bottom as shares "
        "of the picture; frames from 0, or from the end with -1) or frame=12,mask=mask.png (as large as the frame, "
        "the object bright)")  # fmt: skip
    add("--detector", metavar="FOLDER",
        help="folder with an OWL-ViT, OWLv2, Grounding DINO or CLIPSeg model, as transformers saves it, that finds --target in the "
        "frames")  # fmt: skip
    add("--detector-threshold", metavar="S", type=number(0, 1),
        help="least score of what counts as found (default: 0.2 for OWL models, 0.35 for others)")  # fmt: skip
    add("--samples", metavar="K", type=integer(1), default=1,
        help="draw the box of --region K times, slightly off; how many lead to the same object scales the confidence "
        "(default %(default)s)")  # fmt: skip


def many_parser() -> Parser:
    """Options of `sample.py many`."""
    parser = Parser(
        "sample.py many",
        "Follow many camera paths through the scene of a video, which is encoded once. Finished paths of an earlier run are\n"
        "left as they are, so that a run can be taken up again. Under `accelerate launch` the paths are shared out over the\n"
        "processes (--multi_gpu --num_processes N; on a CPU as well, with --device cpu).",
        "the jobs file is a list, in which anchor, frames, seed and prompt may be left to the options:\n"
        "  - {name: in, trajectory: forward 1.0}\n"
        "  - {name: round, trajectory: 'turn left 90', anchor: 0, frames: 17, seed: 1}",
    )
    add = parser.add_argument
    add("--jobs", metavar="FILE", required=True, help="YAML file with the paths, each with the name of its folder")
    _add_footage_options(parser)
    _add_sampling_options(parser)
    add("--output", metavar="DIR", required=True, help="folder that holds the folders of all jobs")
    return parser


def add_context_options(parser: Parser, default_plan: str) -> None:
    """What the model is shown, how its keys and values are kept, and what guidance compares with.

    Args:
        parser: gets the options.
        default_plan: what is shown without a plan, in words.
    """
    add = parser.add_argument
    add("--plan", metavar="NAME", choices=tuple(PLANS),
        help="choose what of all context frames (or of --context-frames) the model is shown, and how finely: "
        f"{', '.join(PLANS)} (default: {default_plan})")  # fmt: skip
    add("--plan-budget", metavar="N", type=integer(1), help="most context frames that --plan keeps in full")
    add("--plan-pool", metavar="N", type=integer(2),
        help="side of the squares of tokens over which far_pooled and coarse_to_fine average frames (default: the plan's, 4)")  # fmt: skip
    add("--null-context", choices=("absent", "noise"), default="absent",
        help="what guidance puts in place of the context (default %(default)s)")  # fmt: skip
    add("--context-scale", metavar="C", type=number(0),
        help="guidance over the context alone (default: that of --guidance-scale)")  # fmt: skip
    add("--geometry", metavar="auto|none|DIR",
        help="what the model is shown of the scene's geometry: auto, what can be read from the video; none, nothing; or a folder of "
        "v4s geometry (default: auto, for models with a geometry prompt)")  # fmt: skip
    add("--cache-dtype", choices=("bfloat16", "float32"),
        help="precision of the keys and values of the context (default: as computed)")  # fmt: skip
    add("--cache-device", choices=("auto", "cpu"), default="auto",
        help="cpu: keep the keys and values of the context off the GPU (default %(default)s, where the model is)")  # fmt: skip


def generation_settings(options: Namespace, context_cameras: bool, **more: object) -> GenerationSettings:
    """What the options of `add_context_options`, `--steps` and `--guidance-scale` ask for.

    Args:
        options: as they were read.
        context_cameras: whether the cameras of the context are known.
        **more: other settings.

    Raises:
        ValueError: naming every problem.
    """
    import torch

    from video4spatial.diffusion import JointGuidance
    from video4spatial.models import CacheStorage
    from video4spatial.pipelines import GenerationSettings

    dtype = None if options.cache_dtype is None else getattr(torch, options.cache_dtype)
    return GenerationSettings(
        num_inference_steps=options.steps,
        guidance=JointGuidance(options.guidance_scale, options.null_context, options.context_scale),
        context_cameras=context_cameras,
        plan=options.plan,
        plan_budget=options.plan_budget,
        plan_options={} if options.plan_pool is None else {"pool": options.plan_pool},
        geometry=options.geometry,
        cache=CacheStorage(dtype, None if options.cache_device == "auto" else options.cache_device),
        **more,
    )


@dataclass(frozen=True)
class SampleSettings:
    """What all modes of `sample.py` are asked for.

    Args:
        model_name: as given.
        model: the checked folder.
        generation: how videos are generated.
        loading: where and how the model computes.
        context_frames: most frames of the context; None for as many as suit the model or the plan.
        prompt: what the video shows, in words, or None.
        save_scene, scene_cache: file that the encoded scene is written to, or read from.
    """

    model_name: str
    model: ModelFolder
    generation: GenerationSettings
    loading: LoadingSettings
    context_frames: int | None = None
    prompt: str | None = None
    save_scene: str | None = None
    scene_cache: str | None = None

    @property
    def offered_frames(self) -> int | None:
        """To how many frames the context is thinned at first; None keeps all, for the plan to choose from."""
        if self.context_frames or self.generation.plan:
            return self.context_frames
        return self.model.context_frames if self.most_shown is None else self.model.geometry_frames

    @property
    def most_shown(self) -> int | None:
        """Frames that go through the model where geometry is read from more of them; None where all do."""
        from video4spatial.pipelines.settings import shows_geometry

        return self.model.context_frames if shows_geometry(self.generation, self.model.transformer) else None


def sample_settings(options: Namespace, model: ModelFolder, cameras_flag: str, context_cameras: bool) -> SampleSettings:
    """The settings of a mode; what model or machine cannot do is refused before anything slow.

    Args:
        options: of the mode.
        model: the checked folder.
        cameras_flag: how the user makes the cameras of the context known.
        context_cameras: whether they are.

    Raises:
        UserError: naming every problem.
    """
    from video4spatial.pipelines.loading import LoadingSettings
    from video4spatial.pipelines.settings import check_settings

    made = []

    def generation() -> None:
        more = {name: getattr(options, name) for name in ("seed", "chunk_frames", "max_context_tokens")}
        made.append(generation_settings(options, context_cameras, **more))
        check_settings(made[0], model.transformer)

    loading = LoadingSettings(
        options.device, options.dtype, options.offload, options.tile_autoencoder, options.attention, options.compile
    )
    all_mistakes(
        (
            generation,
            lambda: _check_prompt(options.prompt, model),
            lambda: _check_scene_files(options.save_scene, options.scene_cache),
            lambda: loading.check(model),
        ),
        context_cameras=cameras_flag,
    )
    return SampleSettings(
        options.model, model, made[0], loading, options.context_frames, options.prompt, options.save_scene, options.scene_cache
    )


def asked_size(text: str, model: ModelFolder) -> tuple[int, int]:
    """Height and width of `--size`, if the model takes them. Where they are beyond its training is another question.

    Args:
        text: width x height.
        model: the checked folder.

    Raises:
        UserError: for anything else than multiples of what the model works on.
    """
    height, width = picture_size(text, f"{model.width}x{model.height}")
    if height % model.grid or width % model.grid:
        closest = (max(round(side / model.grid), 1) * model.grid for side in (width, height))
        raise UserError(f"--size {text}: this model takes multiples of {model.grid} pixels; try --size {'x'.join(map(str, closest))}")
    return height, width


def footage_arguments(options: Namespace, model: ModelFolder) -> dict:
    """The user's own video as arguments of `read_footage`, but anchors and number of frames. The files must exist.

    Args:
        options: of a mode with footage.
        model: for the size and rate of its pictures.

    Raises:
        FileNotFoundError: naming what is missing.
        UserError: for a size that the model does not take.
    """
    for path in (options.context, options.context_cameras):
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
    given = {name: getattr(options, name) for name in ("context", "context_cameras", "scale")}
    of_model = {name: getattr(model, name) for name in ("height", "width", "frame_rate", "aspects", "grid")}
    if options.size is not None:
        of_model["height"], of_model["width"] = asked_size(options.size, model)
        of_model["aspects"] = None
    return {**given, "fov_degrees": options.fov, "image_rate": options.fps, **of_model}


def _check_prompt(prompt: str | None, model: ModelFolder) -> None:
    if prompt and not model.reads_text:
        raise ValueError(f"`prompt` {prompt!r}: this model reads no text; leave it out")


def _check_scene_files(save_scene: str | None, scene_cache: str | None) -> None:
    if save_scene and scene_cache:
        raise ValueError("`save_scene` and `scene_cache` together: the scene is already in a file")
    check_file(save_scene, "--save-scene")
    if scene_cache is not None:
        with open(scene_cache, "rb"):
            pass


def _add_footage_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--context", metavar="PATH", required=True, help="video file or folder of images that shows the scene")
    add("--context-cameras", metavar="FILE",
        help="cameras of the context, by the names of the pictures or one per frame (default: unknown, the video alone)")  # fmt: skip
    add("--anchor", metavar="N", type=integer(), default=-1,
        help="frame of the context the path starts from, counted from 0, or from the end with -1 "
        "(default %(default)s, the last)")  # fmt: skip
    add("--frames", metavar="N", type=integer(2, MOST_FRAMES),
        help="frames to generate, the anchor's included (default: the model's)")  # fmt: skip
    add("--fov", metavar="DEG", type=number(0, 180),
        help="horizontal field of view of the uncropped pictures in degrees, where no camera file gives it "
        "(default: what the video says of its lens, else 60 along the longer side)")  # fmt: skip
    add("--size", metavar="WxH",
        help="size of the generated pictures (default: the video's own aspect with about as many pixels as the model was trained with, "
        "for models trained on several aspects; else the model's size)")  # fmt: skip
    add("--fps", metavar="F", type=number(0), help="images per second, for a folder of images (default 4)")
    add("--scale", metavar="S", type=number(0), default=1.0,
        help="factor on the lengths in camera files (default %(default)g)")  # fmt: skip


def _add_sampling_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--context-frames", metavar="N", type=integer(1),
        help="most context frames given to the model; longer videos are thinned evenly "
        "(default: as many as the model was trained with; with --plan all)")  # fmt: skip
    names = ", ".join(built_in_models()) or "none in this installation"
    add("--model", metavar="PATH_OR_NAME", default="rooms",
        help=f"pipeline folder, or a built-in model: {names} (default %(default)s)")  # fmt: skip
    add("--steps", metavar="N", type=integer(1, MOST_STEPS), help="denoising steps (default: what suits the model)")
    add("--guidance-scale", metavar="W", type=number(0), default=1.0,
        help="joint guidance over context and path, 1 is off (default %(default)g)")  # fmt: skip
    add("--seed", metavar="S", type=integer(0), default=0,
        help="of the noise; the same seed gives the same video (default %(default)s)")  # fmt: skip
    add("--overwrite", action="store_true", help="replace an earlier result in the output folder")
    add_context_options(parser, "the video is thinned to the length the model was trained with")
    add("--chunk-frames", metavar="N", type=_chunk_length,
        help="generate longer paths N frames at a time, each chunk joining the memory; 0 generates in one pass "
        "(default: as many as the model was trained with)")  # fmt: skip
    add("--max-context-tokens", metavar="N", type=integer(1),
        help="most tokens in memory; of what was generated the oldest goes first (default: no bound)")  # fmt: skip
    add("--prompt", metavar="WORDS", help="what the video shows, for models that read text (default: nothing)")
    add("--save-scene", metavar="FILE", help="also write the encoded scene (.safetensors), for --scene-cache")
    add("--scene-cache", metavar="FILE",
        help="read the encoded scene from a file of --save-scene; the context must be the same")  # fmt: skip
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default %(default)s: a GPU where there is one")
    add("--dtype", choices=("auto", "float32", "bfloat16"), default="auto",
        help="precision of the transformer (default %(default)s: as saved, float32 on a CPU)")  # fmt: skip
    add("--offload", choices=("none", "model"), default="none",
        help="model: its parts take turns on the GPU, to save memory there (default %(default)s)")  # fmt: skip
    add("--tile-autoencoder", action="store_true", help="let the autoencoder work through large pictures piece by piece")
    add("--attention", metavar="NAME",
        help="attention back end, such as native, flex, xformers, flash, or auto (default: native)")  # fmt: skip
    add("--compile", action="store_true", help="compile the transformer: slow at first, then faster")
    add("--config", metavar="FILE", help="YAML file with any of these options; the command line wins")


def _chunk_length(text: str) -> int:
    value = integer(0)(text)
    if value == 1:
        raise ArgumentTypeError("expected 0 (one pass) or at least 2 (the frame a chunk starts from and a new one), got 1")
    return value
