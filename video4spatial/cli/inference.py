"""Options of generating that all modes of `sample.py` share, and the objects they become."""

import json
from argparse import ArgumentTypeError, Namespace
from typing import NamedTuple

from video4spatial.cli.arguments import Parser, integer, number
from video4spatial.cli.errors import UserError, describe, user_mistakes
from video4spatial.cli.loading import Placement
from video4spatial.cli.output_folder import check_file
from video4spatial.cli.terminal import counted, note, stage
from video4spatial.pretrained import ModelFolder

PLAN_NAMES = ("all", "stride", "diverse", "frustum", "far_pooled", "coarse_to_fine")
"""The names of `context_plans.PLANS`, whose import takes seconds; a test compares them."""

RESULT_OPTIONS = (
    "plan", "plan_budget", "plan_pool", "max_context_tokens", "null_context", "context_scale", "prompt", "scene_cache", "tile_autoencoder",
    "cache_dtype", "attention", "compile",
)  # fmt: skip
"""Options that change the result and are written down as given."""


def add_context_options(parser: Parser, default_plan: str) -> None:
    """What the model is shown, how its keys and values are kept, and what guidance compares with.

    Args:
        parser: gets the options.
        default_plan: what is shown without a plan, in words.
    """
    add = parser.add_argument
    add("--plan", metavar="NAME", choices=PLAN_NAMES,
        help="choose what of all context frames (or of --context-frames) the model is shown, and how finely: "
        f"{', '.join(PLAN_NAMES)} (default: {default_plan})")  # fmt: skip
    add("--plan-budget", metavar="N", type=integer(1), help="most context frames that --plan keeps in full")
    add("--plan-pool", metavar="N", type=integer(2),
        help="side of the squares of tokens over which far_pooled and coarse_to_fine average frames (default: the plan's, 4)")  # fmt: skip
    add("--null-context", choices=("absent", "noise"), default="absent",
        help="what guidance puts in place of the context (default %(default)s)")  # fmt: skip
    add("--context-scale", metavar="C", type=number(0),
        help="guidance over the context alone (default: that of --guidance-scale)")  # fmt: skip
    add("--cache-dtype", choices=("bfloat16", "float32"),
        help="precision of the keys and values of the context (default: as computed)")  # fmt: skip
    add("--cache-device", choices=("auto", "cpu"), default="auto",
        help="cpu: keep the keys and values of the context off the GPU (default %(default)s, where the model is)")  # fmt: skip


def add_inference_options(parser: Parser) -> None:
    """What the model is shown, how it generates, and on what."""
    add_context_options(parser, "the video is thinned to the length the model was trained with")
    add = parser.add_argument
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


def _chunk_length(text: str) -> int:
    value = integer(0)(text)
    if value == 1:
        raise ArgumentTypeError("expected 0 (one pass) or at least 2 (the frame a chunk starts from and a new one), got 1")
    return value


class Generated(NamedTuple):
    """A path carried out.

    Args:
        frames: [T, H, W, 3] uint8.
        approximations: in words, why the memory was not exact; empty if it was.
        chunks: passes it took.
    """

    frames: object
    approximations: tuple[str, ...]
    chunks: int


def check_inference(options: Namespace, model: ModelFolder, cameras_option: str, cameras_known: bool) -> None:
    """Refuse, before anything slow, what the model or this machine cannot do.

    Args:
        options: of `add_inference_options`, and `guidance_scale`.
        model: the checked folder.
        cameras_option: how the user makes the cameras of the context known.
        cameras_known: whether they are.

    Raises:
        UserError: naming every problem.
    """
    problems: list[str] = []

    def collect(check, *arguments) -> None:
        try:
            check(*arguments)
        except (ValueError, OSError) as error:
            problems.append(describe(error).rstrip("."))

    config = transformer_config(model)
    full = config.get("attention_mode") == "full"
    collect(check_plan, options, cameras_option, cameras_known, full)
    if options.prompt and not reads_text(model):
        problems.append(f"--prompt {options.prompt!r}: this model reads no text; leave it out")
    if options.save_scene and options.scene_cache:
        problems.append("--save-scene and --scene-cache together: the scene is already in a file")
    collect(check_file, options.save_scene, "--save-scene")
    collect(_check_exists, options.scene_cache)
    _raise(problems)

    # What follows takes the seconds of its imports.
    from video4spatial.models.attention import resolve_backend

    for name in ("cache_dtype", "max_context_tokens"):
        if full and getattr(options, name) is not None:
            problems.append(f"--{name.replace('_', '-')}: this model has full attention, which keeps no keys and values")
    null_contexts = tuple(config.get("null_context", ("absent",)))
    collect(guidance(options).check, null_contexts, config.get("null_instruction", False))
    placed = placement(options)
    collect(placed.resolved_device)
    _raise(problems)
    device = placed.resolved_device()
    if device == "cpu" and options.offload != "none":
        problems.append("--offload model moves parts between the GPU and the CPU, but this run has no GPU: leave it out")
    if options.attention is not None:
        import torch

        dtype = getattr(torch, placed.resolved_dtype(model))
        collect(resolve_backend, options.attention, device, dtype, config.get("attention_head_dim", 64))
    _raise(problems)


def check_plan(options: Namespace, cameras_option: str, cameras_known: bool, full_attention: bool) -> None:
    """Refuse plans that miss something.

    Args:
        options: of `add_context_options`.
        cameras_option: how the user makes the cameras of the context known.
        cameras_known: whether they are.
        full_attention: whether the model's context sees the targets, and takes all frames alike.

    Raises:
        ValueError: naming every problem.
    """
    problems, plan = [], None
    if options.plan is not None:
        from video4spatial.conditioning.plans import PLANS  # takes seconds

        plan = PLANS[options.plan]
    elif options.plan_budget is not None:
        problems.append(f"--plan-budget {options.plan_budget} without a plan: add --plan, or use --context-frames")
    pools = plan is not None and "pool" in plan.options
    if options.plan_pool is not None and not pools:
        problems.append(f"--plan-pool {options.plan_pool} without a plan that averages frames: use far_pooled or coarse_to_fine")
    if plan and plan.needs_cameras and not cameras_known:
        problems.append(f"--plan {plan.name} needs the cameras of the context: add {cameras_option}, or choose another plan")
    if plan and plan.needs_budget and options.plan_budget is None:
        problems.append(f"--plan {plan.name} needs --plan-budget, the most context frames it keeps in full")
    if pools and full_attention:
        problems.append(f"--plan {plan.name}: this model has full attention, which takes all frames alike")
    if problems:
        raise ValueError("; ".join(problems))


def pooling(options: Namespace) -> dict:
    """Options of the plan besides its budget."""
    return {} if options.plan_pool is None else {"pool": options.plan_pool}


def _raise(problems: list[str]) -> None:
    if problems:
        raise UserError("; ".join(problems))


def _check_exists(path: str | None) -> None:
    if path is not None:
        with open(path, "rb"):
            pass


def reads_text(model: ModelFolder) -> bool:
    """Whether a model has a text encoder."""
    index = json.loads((model.path / "model_index.json").read_text(encoding="utf-8"))
    return any(index.get("text_encoder") or ())


def transformer_config(model: ModelFolder) -> dict:
    """The configuration of a model's transformer."""
    return json.loads((model.path / "transformer" / "config.json").read_text(encoding="utf-8"))


def placement(options: Namespace) -> Placement:
    """Where and how the model computes."""
    return Placement(
        options.device, options.dtype, options.offload, options.tile_autoencoder, options.attention, options.compile
    )


def guidance(options: Namespace):
    """The guider."""
    from video4spatial.diffusion import JointGuidance

    return JointGuidance(
        guidance_scale=options.guidance_scale, null_context=options.null_context, context_scale=options.context_scale
    )


def offered_frames(options: Namespace, model: ModelFolder) -> int | None:
    """To how many frames the context is thinned at first; None keeps all, for the plan to choose from."""
    return options.context_frames or (None if options.plan else model.context_frames)


def chunk_frames(options: Namespace, model: ModelFolder, frames: int) -> int:
    """Frames per chunk of a path of so many frames; 0 for one pass."""
    chunk = model.target_frames if options.chunk_frames is None else options.chunk_frames
    return chunk if frames > chunk else 0


def plan_for(clip, cameras, options: Namespace):
    """What of a clip's context the model is shown.

    Raises:
        UserError: where the plan does not fit.
    """
    from video4spatial.conditioning.plans import ContextMaterial, plan_context

    with user_mistakes():
        material = ContextMaterial(clip.context_frames, clip.context_times, cameras, clip.anchor)
        return plan_context(options.plan or "all", material, options.plan_budget, **pooling(options))


def encoded_scene(pipeline, clip, cameras, plan, options: Namespace):
    """The clip's context, encoded or read; what is approximate about it is said.

    Raises:
        UserError: for a scene file that is not of this model and context, or a scene larger than the bound.
    """
    import torch

    from video4spatial.models import CacheStorage

    dtype = None if options.cache_dtype is None else getattr(torch, options.cache_dtype)
    if options.scene_cache is None:
        storage = CacheStorage(dtype, "cpu" if options.cache_device == "cpu" else None)
        with stage(f"encoding {len(plan.chunks)} context frames"), user_mistakes():
            frames, times = clip.context_frames, clip.context_times
            context = pipeline.encode_context(frames, times, cameras, plan=plan, storage=storage)
    else:
        device = placement(options).resolved_device()
        with stage(f"reading the scene of {options.scene_cache}"), user_mistakes():
            context = pipeline.load_context(options.scene_cache)
            _check_same_scene(context, clip, cameras, plan, options.scene_cache)
        context = context.stored(CacheStorage(dtype, "cpu" if options.cache_device == "cpu" else device))
    if options.save_scene is not None:
        with stage(f"writing the scene to {options.save_scene}"), user_mistakes():
            pipeline.save_context(context, options.save_scene)
    _say_approximations(context.approximations)
    return context


def _check_same_scene(context, clip, cameras, plan, path: str) -> None:
    import numpy as np

    differs = []
    if not np.array_equal(context.frames, clip.context_frames):
        differs.append(f"{len(context)} frames, other than the {len(clip.context_frames)} of the context")
    elif not np.allclose(context.times, clip.context_times):
        differs.append("the same frames at other times")
    if (context.cameras is None) != (cameras is None):
        differs.append("frames with" + ("out" if context.cameras is None else "") + " known cameras")
    elif cameras is not None and not differs:
        apart = (context.cameras.camera_to_world - cameras.camera_to_world).abs().max()
        if apart > 1e-6:
            differs.append("the same frames with other cameras")
    if not differs and (context.parts, context.coarse_share) != (plan.parts, plan.coarse_share):
        differs.append("frames chosen by another --plan")
    if differs:
        raise ValueError(
            f"--scene-cache {path} holds {' and '.join(differs)}: give the --context and options it was written with, or leave "
            "--scene-cache out."
        )


def generate(pipeline, context, clip, model: ModelFolder, options: Namespace, steps: int) -> Generated:
    """Follow the clip's path through the encoded scene, in one pass or chunk by chunk.

    Args:
        pipeline: the loaded model.
        context: the encoded scene.
        clip: of a camera path.
        model: the pipeline's folder.
        options: also `seed` and `prompt`.
        steps: of denoising.

    Raises:
        UserError: where the scene and a chunk are more than --max-context-tokens.
    """
    from video4spatial.clips import Navigate

    path = clip.instruction.cameras
    chunk = chunk_frames(options, model, len(path))
    _check_room(pipeline, context, chunk, options)
    if not chunk:
        import torch

        with counted("denoising", steps) as advance:
            output = pipeline(
                context,
                Navigate(path, options.prompt or ""),
                anchor=clip.anchor,
                num_inference_steps=steps,
                guidance=guidance(options),
                generator=torch.Generator().manual_seed(options.seed),
                callback_on_step_end=lambda *_: advance(),
            )
        return Generated(output.frames, context.approximations, 1)
    from video4spatial.pipelines.session import SceneSession, SessionSettings

    settings = SessionSettings(steps, guidance(options), chunk, options.max_context_tokens, options.seed, options.prompt or "")
    session = SceneSession(pipeline, context, clip.anchor, settings)
    starts = range(0, len(path) - 1, chunk - 1)  # each chunk begins with the last frame of the one before
    with counted("generating chunks", len(starts)) as advance:
        for start in starts:
            session.move(path[start : start + chunk])
            advance()
    approximations = session.context.approximations
    _say_approximations(tuple(reason for reason in approximations if reason not in context.approximations))
    return Generated(session.frames, approximations, len(starts))


def chunk_note(options: Namespace, model: ModelFolder, frames: int) -> str | None:
    """A sentence where a long path is generated in chunks that nobody asked for."""
    chunk = chunk_frames(options, model, frames)
    if not chunk or options.chunk_frames is not None:
        return None
    return (
        f"{frames} frames are more than the {chunk} this model was trained with: they are generated chunk by chunk, each joining "
        "the memory (--chunk-frames 0 generates them in one pass)."
    )


def inference_settings(options: Namespace, model: ModelFolder, generated: Generated) -> dict:
    """What is written down of the options, as it came out."""
    written = {name: getattr(options, name) for name in RESULT_OPTIONS}
    written["chunk_frames"] = chunk_frames(options, model, len(generated.frames))
    written["chunks"] = generated.chunks
    written["dtype"] = placement(options).resolved_dtype(model)
    written["approximations"] = list(generated.approximations)
    return written


def _check_room(pipeline, context, chunk: int, options: Namespace) -> None:
    if options.max_context_tokens is None:
        return
    from video4spatial.models.autoencoder import temporal_compression

    held = context.cache.num_tokens
    added = 0
    if chunk:
        again = temporal_compression(pipeline.vae) > 1  # such an autoencoder takes a chunk's first frame along
        added = (chunk - 1 + again) * pipeline.transformer.tokens_per_latent(*context.latents.shape[-2:])
    if held + added > options.max_context_tokens:
        raise UserError(
            f"--max-context-tokens {options.max_context_tokens}: the scene holds {held} tokens"
            + (f" and a chunk adds {added}" if added else "")
            + "; allow more, or show the model less of the scene (--plan, --context-frames) or shorter chunks (--chunk-frames)"
        )


def _say_approximations(reasons: tuple[str, ...]) -> None:
    for reason in reasons:
        note(f"the memory of the scene is approximate: {reason}.")
