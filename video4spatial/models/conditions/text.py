"""Prompts to the text states that the transformer reads, as Wan prepares them."""

import html
from pathlib import Path

import torch
from diffusers.utils import is_ftfy_available


def clean_prompt(prompt: str) -> str:
    """A prompt without HTML entities and runs of white space; broken Unicode is mended too where ftfy is installed."""
    if is_ftfy_available():
        import ftfy

        prompt = ftfy.fix_text(prompt)
    return " ".join(html.unescape(html.unescape(prompt)).split())


def encode_prompt(tokenizer, text_encoder, prompts: str | list[str], max_length: int = 512) -> torch.Tensor:
    """Text states of prompts, as diffusers' `WanPipeline.encode_prompt` computes them.

    Gradients flow where they are enabled, so that a small text encoder can be trained along.

    Args:
        tokenizer: a tokenizer of transformers that pads on the right.
        text_encoder: an encoder of transformers, such as `UMT5EncoderModel`.
        prompts: B prompts, or one.
        max_length: tokens L per prompt; Wan was trained with 512. Longer prompts are cut, the end token kept.

    Returns:
        [B, L, text_dim] on the text encoder's device and in its dtype; zeros where a prompt has ended.

    Raises:
        ValueError: if there is no prompt.
    """
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    if not prompts:
        raise ValueError("no prompt was given: expected at least one; '' says nothing.")
    tokens = tokenizer(
        [clean_prompt(prompt) for prompt in prompts],
        padding="max_length",
        max_length=max_length,
        truncation=True,
        return_attention_mask=True,
        return_tensors="pt",
    )
    mask = tokens.attention_mask.to(text_encoder.device)
    states = text_encoder(tokens.input_ids.to(text_encoder.device), mask).last_hidden_state
    return states.masked_fill(mask.to(states.device).unsqueeze(-1) == 0, 0)


def load_text(folder: Path, torch_dtype: torch.dtype = torch.float32):
    """The text encoder and the tokenizer of a pipeline folder.

    Args:
        folder: with `text_encoder` and `tokenizer`, as transformers save them; nothing is downloaded.
        torch_dtype: of the text encoder.

    Returns:
        An encoder in evaluation mode (UMT5 or T5, by its configuration) and its tokenizer.

    Raises:
        FileNotFoundError: where one of them is missing.
        ImportError: without the library transformers.
        ValueError: for an encoder of another kind.
    """
    missing = [name for name in ("text_encoder", "tokenizer") if not (folder / name).is_dir()]
    if missing:
        raise FileNotFoundError(f"{folder}: expected a folder with text_encoder and tokenizer, it lacks {' and '.join(missing)}.")
    try:
        from transformers import AutoConfig, AutoTokenizer, T5EncoderModel, UMT5EncoderModel
    except ImportError as error:
        raise ImportError(f"{folder}/text_encoder needs the library transformers: pip install transformers") from error
    kind = AutoConfig.from_pretrained(folder / "text_encoder", local_files_only=True, trust_remote_code=False).model_type
    encoders = {"t5": T5EncoderModel, "umt5": UMT5EncoderModel}
    if kind not in encoders:
        raise ValueError(f"{folder}/text_encoder is a {kind} model: expected one of {', '.join(encoders)}.")
    encoder = encoders[kind].from_pretrained(folder / "text_encoder", dtype=torch_dtype, use_safetensors=True)
    return encoder.eval(), AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True, trust_remote_code=False)
