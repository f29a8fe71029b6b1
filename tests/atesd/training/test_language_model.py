"""Encoding without loss, and folders that others load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from atesd.errors import UserError
from atesd.models import ModelConfig
from atesd.tasks.problem import Problem
from atesd.training import testbed_model, weights
from atesd.training.language_model import LanguageModel, load
from atesd.training.sequences import score


def test_prompts_of_the_testbed(language: LanguageModel, problem: Problem) -> None:
    assert language.decode(language.student_prompt(problem)) == "P07+48*3-09\nS"
    assert language.decode(language.teacher_prompt(problem, "07+48=55;")) == "P07+48*3-09\nR07+48=55;#56\nS"
    assert language.decode(language.teacher_prompt(problem, "")) == "P07+48*3-09\nR#56\nS"
    completion = language.reference_completion(problem)
    assert language.decode(completion) == "07+48=55;55*3=65;65-09=56;#56"
    assert completion[-1] == language.eos_id
    assert language.style.is_correct(problem, language.decode(completion))


def test_every_character_is_one_token(language: LanguageModel) -> None:
    text = testbed_model.CHARACTERS
    assert len(language.encode(text, "test")) == len(text) == len(set(text))
    assert language.token_pieces(text, "test") == list(text)
    assert language.encode("", "test") == []


@pytest.mark.parametrize("text", ["é", "07 + 48", "x", "\ud800"])
def test_text_the_tokenizer_cannot_represent_is_refused(text: str, language: LanguageModel) -> None:
    with pytest.raises(UserError, match=r"problem p: the model's tokenizer .*use a model whose vocabulary covers"):
        language.encode(text, "problem p")


def test_a_saved_student_is_an_ordinary_folder(language: LanguageModel, tmp_path: Path) -> None:
    language.save(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    assert weights.fingerprint(model) == weights.fingerprint(language.model)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer("P07\nS")["input_ids"] == language.encode("P07\nS", "test")
    loaded = load(ModelConfig(path=str(tmp_path / "model")))
    assert (loaded.pad_id, loaded.eos_id, loaded.context) == (0, 1, testbed_model.CONTEXT)
    prompts = torch.tensor([language.encode("P07\nS", "test")])
    with torch.no_grad():
        assert torch.equal(loaded.model(prompts).logits, language.model(prompts).logits)
    assert not loaded.model.training


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.path=.*absent holds no config\.json; give the folder"):
        load(ModelConfig(path=str(tmp_path / "absent")))


def test_a_tokenizer_without_a_pad_token_may_borrow_one_and_no_number_depends_on_it(
    language: LanguageModel, tmp_path: Path
) -> None:
    own = language.tokenizer.pad_token
    language.tokenizer.pad_token = None
    language.save(tmp_path)
    prompts, completions = [[4, 5, 6], [7]], [[8], [3, 4, 5]]
    scored = []
    for token in (own, "5"):
        loaded = load(ModelConfig(path=str(tmp_path), pad_token=token))
        assert loaded.tokenizer.pad_token == token
        assert len(loaded.tokenizer) == len(language.tokenizer)
        batch = loaded.collate(prompts, completions)
        assert (batch.ids == loaded.pad_id).sum() >= 4
        scored.append(score(loaded.model, batch, 2)[batch.completion_mask_BT.bool()])
    assert torch.equal(*scored)
    for token, message in ((None, "has no pad_token"), ("<new>", "has no token '<new>'")):
        with pytest.raises(UserError, match=rf"{message}; name one of its own with model\.pad_token=…, '<eos>' say"):
            load(ModelConfig(path=str(tmp_path), pad_token=token))


def test_initialisation_is_keyed_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (weights.fingerprint(testbed_model.initialise(s, 1, 32).model) for s in (0, 0, 1))
    assert first == again != other
    assert torch.equal(before, torch.random.get_rng_state())
