"""The embedded testbed's architecture and tokenizer: Qwen3, 0.86 M parameters, one character per token. ours"""

from __future__ import annotations

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from atesd.prompts import TESTBED
from atesd.training.language_model import LanguageModel

PAD, EOS = "<pad>", "<eos>"
CHARACTERS = "0123456789+-*=;#\nPRS"
CONTEXT = 256


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {token: index for index, token in enumerate([PAD, EOS, *CHARACTERS])}
    characters = Tokenizer(models.WordLevel(vocabulary))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    characters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=characters,
        pad_token=PAD,
        eos_token=EOS,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def initialise(seed: int, layers: int = 4, width: int = 128) -> LanguageModel:
    """Return an untrained model of the testbed's shape; smaller ones serve tests."""
    words = tokenizer()
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=width // 4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    return LanguageModel(model, words, TESTBED)
