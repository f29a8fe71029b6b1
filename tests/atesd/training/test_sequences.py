"""The alignment of prompts and completions: padding moves nothing, and a shift by one token would show."""

from __future__ import annotations

import pytest
import torch

from atesd.losses import token_log_probs
from atesd.training.language_model import LanguageModel
from atesd.training.sequences import collate, completion_logits, positions, score, score_tokens

PROMPTS = [[4, 5], [6, 7, 8, 9, 10, 11, 12], [3], [20, 19, 18, 17]]
COMPLETIONS = [[9, 8, 7, 6, 5], [4], [5, 5, 5], [2, 3, 4, 5, 6, 7, 8]]


def direct(language: LanguageModel, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """Score prompt and completion alone, without padding, mask or position ids; return all positions."""
    with torch.no_grad():
        logits: torch.Tensor = language.model(input_ids=torch.tensor([prompt + completion])).logits[0]
    return logits


def test_collate_by_hand() -> None:
    batch = collate([[4, 5], [6]], [[7], [8, 9]], pad_id=0)
    assert batch.ids.tolist() == [[4, 5, 7, 0], [0, 6, 8, 9]]
    assert batch.mask.tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]
    assert batch.prompt_length == 2
    assert batch.completion_ids_BT.tolist() == [[7, 0], [8, 9]]
    assert batch.completion_mask_BT.tolist() == [[1, 0], [1, 1]]
    assert positions(batch.mask).tolist() == [[0, 1, 2, 2], [0, 0, 1, 2]]
    assert len(batch) == 2
    assert batch[torch.tensor([1])].ids.tolist() == [[0, 6, 8, 9]]


def test_a_real_token_that_equals_the_pad_is_not_masked() -> None:
    batch = collate([[0, 4], [5]], [[0], [6, 0]], pad_id=0)
    assert batch.mask.tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]


@pytest.mark.parametrize("row", range(len(PROMPTS)))
def test_logits_are_those_of_an_unpadded_forward_at_the_position_before(language: LanguageModel, row: int) -> None:
    prompt, completion = PROMPTS[row], COMPLETIONS[row]
    with torch.no_grad():
        batched = completion_logits(language.model, collate(PROMPTS, COMPLETIONS, language.pad_id))[row]
    alone = direct(language, prompt, completion)
    found = batched[: len(completion)]
    start = len(prompt) - 1
    assert (found - alone[start : start + len(completion)]).abs().max() < 1e-5
    # A neighbour's logits are far away, so an alignment that is off by one could not pass.
    assert (found - alone[start + 1 :]).abs().max() > 0.1


def test_completions_score_the_same_alone_and_beside_longer_prompts_and_completions(language: LanguageModel) -> None:
    with torch.no_grad():
        for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True):
            alone = completion_logits(language.model, collate([prompt], [completion], language.pad_id))[0]
            longer = collate([prompt, [3] * 60], [completion, [4] * 50], language.pad_id)
            beside = completion_logits(language.model, longer)[0, : len(completion)]
            assert (alone - beside).abs().max() < 1e-5


def test_micro_batches_score_as_the_whole(language: LanguageModel) -> None:
    batch = collate(PROMPTS, COMPLETIONS, language.pad_id)
    with torch.no_grad():
        whole = completion_logits(language.model, batch)
    real = batch.completion_mask_BT.bool()
    for size in (1, 2, 3, 9):
        scored = score(language.model, batch, size)
        assert scored.shape == whole.shape
        assert not scored.requires_grad
        assert (whole - scored)[real].abs().max() < 1e-5
        tokens = token_log_probs(scored, batch.completion_ids_BT)
        assert torch.equal(score_tokens(language.model, batch, size)[real], tokens[real])


def test_groups_hold_the_shortest_first_and_no_column_of_padding_alone() -> None:
    batch = collate([[6, 7], [8], [9]], [[3], [4, 5, 6], [3]], 0)
    assert [rows.tolist() for rows in batch.by_length(2)] == [[2, 0], [1]]
    short = batch[torch.tensor([2])].tight()
    assert (short.ids.tolist(), short.prompt_length) == ([[9, 3]], 1)


def test_what_stands_on_the_pads_does_not_matter(language: LanguageModel) -> None:
    scored = []
    for pad in (language.pad_id, 13):
        batch = collate(PROMPTS, COMPLETIONS, pad)
        with torch.no_grad():
            scored.append(completion_logits(language.model, batch)[batch.completion_mask_BT.bool()])
    assert (scored[0] - scored[1]).abs().max() < 1e-5
