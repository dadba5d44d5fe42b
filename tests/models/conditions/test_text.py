import pytest
import torch

from video4spatial.models.conditions.text import clean_prompt, encode_prompt

WORDS = "a room with one chair and two tables seen from the door".split()


def tiny_text_parts():
    """A real UMT5 encoder of width 32 and a real tokenizer of a few words that ends prompts as T5's does; text_dim is 32."""
    tokenizers = pytest.importorskip("tokenizers", reason="comes with transformers")
    transformers = pytest.importorskip("transformers")
    vocabulary = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.post_processor = tokenizers.processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", padding_side="right"
    )
    torch.manual_seed(0)
    config = transformers.UMT5Config(
        vocab_size=len(vocabulary), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.0
    )
    return transformers.UMT5EncoderModel(config).eval(), tokenizer


@pytest.mark.parametrize("max_length", [6, 512])
def test_states_are_those_of_the_wan_pipeline(max_length):
    text_encoder, tokenizer = tiny_text_parts()
    from diffusers import WanPipeline

    theirs = WanPipeline(tokenizer=tokenizer, text_encoder=text_encoder, vae=None, scheduler=None)
    prompts = ["a room with one chair", "", "  two\n tables &amp;amp; a door ", " ".join(WORDS)]
    with torch.no_grad():
        expected, _ = theirs.encode_prompt(prompts, do_classifier_free_guidance=False, max_sequence_length=max_length)
        states = encode_prompt(tokenizer, text_encoder, prompts, max_length)
        assert torch.equal(states, expected)
        alone = encode_prompt(tokenizer, text_encoder, prompts[0], max_length)
    torch.testing.assert_close(alone, expected[:1], atol=1e-6, rtol=1e-5)
    assert states.shape == (4, max_length, 32)
    assert states[1, 0].abs().max() > 0 and not states[1, 1:].any()  # the end token alone


def test_gradients_reach_a_text_encoder_that_is_trained_along():
    text_encoder, tokenizer = tiny_text_parts()
    encode_prompt(tokenizer, text_encoder, "a room", 4).sum().backward()
    assert text_encoder.shared.weight.grad.abs().max() > 0


def test_prompts_are_cleaned():
    assert clean_prompt("  a &amp;quot;room&amp;quot;\n\twith\u00a0chairs ") == 'a "room" with chairs'


def test_broken_unicode_is_mended():
    pytest.importorskip("ftfy")
    assert clean_prompt("a cafÃ©") == "a café"


def test_no_prompt_is_a_mistake():
    with pytest.raises(ValueError, match="no prompt was given"):
        encode_prompt(None, None, [])
