"""A causal language model and its tokenizer: loading, encoding without loss, saving as an ordinary folder."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from atesd.errors import UserError
from atesd.frame import Frame, Frames
from atesd.models import ModelConfig, Source
from atesd.prompts import STYLES, PromptStyle
from atesd.tasks.problem import Problem
from atesd.training import sequences
from atesd.training.adapter import ADAPTER, merged
from atesd.training.sequences import Sequences


@dataclass(frozen=True)
class Weightless:
    """Stands in for a model where only its settings are needed."""

    config: Any
    device: str = "cpu"


@dataclass
class LanguageModel:
    """A Hugging Face causal model with its tokenizer and the prompt style it was trained on.

    Attributes:
        room: tokens of the context that every prompt must leave for a completion.
        frames: what the chat template puts around prompts.
    """

    model: Any
    tokenizer: Any
    style: PromptStyle
    room: int = 0
    frames: Frames = field(default_factory=Frames)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id)

    @property
    def eos_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def context(self) -> int:
        return int(self.model.config.max_position_embeddings)

    def encode(self, text: str, owner: str) -> list[int]:
        """Encode text that decodes to itself; ``owner`` names the problem in the error.

        Raises:
            UserError: the tokenizer cannot represent the text.
        """
        remedy = "use a model whose vocabulary covers the data"
        try:
            ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        except Exception as error:  # the tokenizers library raises nothing narrower
            raise UserError(f"{owner}: the model's tokenizer refuses {text!r} ({error}); {remedy}") from None
        back = self.tokenizer.decode(ids)
        # Some tokenizers compose accents first (NFC), which Unicode calls the same text.
        if back != text and back != unicodedata.normalize("NFC", text):
            raise UserError(f"{owner}: the model's tokenizer turns {text!r} into {back!r}; {remedy}")
        return ids

    def student_prompt(self, problem: Problem) -> list[int]:
        return self._prompt(self.frames.student, self.style.student_prompt(problem), f"problem {problem.id}")

    def teacher_prompt(self, problem: Problem, revealed: str) -> list[int]:
        text = self.style.teacher_prompt(problem, revealed)
        return self._prompt(self.frames.teacher, text, f"problem {problem.id}, teacher prompt")

    def evaluation_prompt(self, problem: Problem) -> list[int]:
        """Return the prompt of ``atesd.evaluate``."""
        return self._prompt(self.frames.evaluation, self.style.evaluation_prompt(problem), f"problem {problem.id}")

    def blank_prompt(self, problem: Problem) -> list[int]:
        text = self.style.blank_prompt(problem)
        return self._prompt(self.frames.teacher, text, f"problem {problem.id}, blank teacher prompt")

    def concise_prompt(self, problem: Problem) -> list[int]:
        text = self.style.concise_prompt(problem)
        return self._prompt(self.frames.student, text, f"problem {problem.id}, concise prompt")

    def collate(self, prompts: Sequence[list[int]], completions: Sequence[list[int]]) -> Sequences:
        """Align prompts and completions on the model's device."""
        return sequences.collate(prompts, completions, self.pad_id, self.device)

    def reference_completion(self, problem: Problem) -> list[int]:
        """Return the reference as the completion it should be: solution, boxed answer, end token."""
        return [*self.encode(self.style.reference_completion(problem), f"problem {problem.id}"), self.eos_id]

    def collate_for(
        self, problems: Sequence[Problem], prompts: Sequence[list[int]], completions: Sequence[list[int]]
    ) -> Sequences:
        """Align prompts and completions; refuse one that does not fit the model, naming its problem."""
        for problem, prompt, completion in zip(problems, prompts, completions, strict=True):
            if (length := len(prompt) + len(completion)) > self.context:
                raise UserError(
                    f"problem {problem.id}: its prompt of {len(prompt)} tokens and completion of {len(completion)} "
                    f"make {length}, more than the model's {self.context}; leave the problem out or take another "
                    "model: a prompt is never cut"
                )
        return self.collate(prompts, completions)

    def decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def token_pieces(self, text: str, owner: str) -> list[str]:
        """Cut text at the tokenizer's own boundaries; refuses what ``encode`` refuses."""
        self.encode(text, owner)
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        ends = [end for _, end in offsets]
        return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def _prompt(self, frame: Frame, text: str, owner: str) -> list[int]:
        ids = frame.encode(text, partial(self.encode, owner=owner))
        if len(ids) + self.room > self.context:
            raise UserError(
                f"{owner}: {len(ids)} tokens and the {self.room} of a completion make more than the model's "
                f"{self.context}; leave the problem out, lower rollout.max_new_tokens or take another model: a prompt "
                "is never cut"
            )
        return ids

    def save(self, folder: Path) -> None:
        """Write a folder that ``AutoModelForCausalLM.from_pretrained`` loads.

        Weights with adapters are merged, and the adapters lie beside them in a folder of their own.
        """
        whole = merged(self.model) if hasattr(self.model, "merge_and_unload") else self.model
        whole.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        if whole is not self.model:
            self.model.save_pretrained(folder / ADAPTER)


def load(config: ModelConfig) -> LanguageModel:
    """Load a model, its tokenizer and templates first.

    Raises:
        UserError: there is no model, its tokenizer lacks a pad or end token, or its chat template does not serve.
    """
    language = words(config)
    source = config.source()
    model = _fetch(AutoModelForCausalLM, source, dtype=getattr(torch, config.dtype.value), **_unpacking(source))
    if quantizer := getattr(model, "hf_quantizer", None):
        quantizer.remove_quantization_config(model)  # its weights are plain now, but it would refuse to be saved
    return replace(language, model=model)


def words(config: ModelConfig) -> LanguageModel:
    """Return a model without its weights: what encodes and renders, and its context; refuses what ``load`` does."""
    source = config.source()
    transformers.utils.logging.disable_progress_bar()  # a bar per file would tear the run's own display
    tokenizer = _fetch(AutoTokenizer, source)
    owner = f"model.path={config.folder()}: its tokenizer"
    if tokenizer.eos_token is None:
        raise UserError(f"{owner} has no eos_token; set one and save the tokenizer again")
    remedy = f"name one of its own with model.pad_token=…, {tokenizer.eos_token!r} say"
    if config.pad_token is not None:
        if config.pad_token not in tokenizer.get_vocab():  # a new one would have no embedding
            raise UserError(f"{owner} has no token {config.pad_token!r}; {remedy}")
        tokenizer.pad_token = config.pad_token
    if tokenizer.pad_token is None:
        raise UserError(f"{owner} has no pad_token; {remedy}")
    frames = config.frames(tokenizer)
    return LanguageModel(Weightless(_fetch(AutoConfig, source)), tokenizer, STYLES[config.style], frames=frames)


def _unpacking(source: Source) -> dict[str, Any]:
    """Return what makes a GGUF file's weights plain tensors; older releases of transformers do so unasked."""
    unasked = "gguf_file" not in source.arguments or not hasattr(transformers, "GgufConfig")
    return {} if unasked else {"quantization_config": transformers.GgufConfig(dequantize=True)}


def _fetch(loader: Any, source: Source, **arguments: Any) -> Any:
    """Load with ``from_pretrained``; what cannot be read or reached is the user's to mend."""
    try:
        return loader.from_pretrained(source.name, **source.arguments, **arguments)
    except (OSError, ImportError, ValueError) as error:
        reason = " ".join(str(error).split())
        remedy = "with no network, bring the model as a folder" if "revision" in source.arguments else "bring it whole"
        raise UserError(f"model.path={source.name} does not load: {reason}; {remedy}") from error
