"""Token weights by hand, and what they do to a batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from atesd.distillation import SignalConfig
from atesd.errors import UserError
from atesd.exposure import Cut
from atesd.losses import token_log_probs
from atesd.tasks.arithmetic import Arithmetic
from atesd.training.collector import Collector
from atesd.training.language_model import LanguageModel
from atesd.training.sequences import collate, completion_logits
from atesd.trust import Trust, agreeing, relative, trusted


@pytest.fixture
def moved(context: Callable[..., Collector], language: LanguageModel) -> Collector:
    """Return a context whose student has moved away from its teacher."""
    found = context(language, max_new_tokens=12)
    with torch.no_grad():
        language.model.get_input_embeddings().weight.mul_(1.3)
    return found


def test_the_token_that_breaks_the_trust_still_counts() -> None:
    assert trusted(torch.tensor([[1.0, 0.0, 1.0, 1.0]])).tolist() == [[1.0, 1.0, 0.0, 0.0]]
    assert trusted(torch.tensor([[0.0]])).tolist() == [[1.0]]


def test_only_what_the_teacher_likes_less_than_the_student_costs_trust() -> None:
    student, other = torch.tensor([[0.5, 0.2, 0.8, 0.004]]).log(), torch.tensor([[0.5, 0.4, 0.2, 0.002]]).log()
    # Relative: the last token is improbable to both, and yet not a miss.
    assert relative(student, other).tolist()[0] == pytest.approx([1.0, 1.0, 0.25, 0.5])


def test_agreement_is_by_token_id_at_the_same_place() -> None:
    sequences = collate([[9], [9], [9]], [[4, 5, 6, 1], [4, 7, 6, 1], [4, 5, 1]], pad_id=0)
    references = [[4, 5, 6, 1], [4, 5, 6, 1], [4, 5, 6, 6, 1]]
    assert agreeing(sequences, references).tolist() == [[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0]]
    assert trusted(agreeing(sequences, references)).tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]
    # A completion longer than its reference: what comes after the reference's end token is not trusted.
    assert agreeing(collate([[9]], [[4, 1, 5]], pad_id=0), [[4, 1]]).tolist() == [[1, 1, 0]]


@pytest.mark.parametrize("trust", [Trust.first_miss, Trust.soft])
def test_weights_of_a_batch_are_the_rule_applied_row_by_row(
    moved: Collector, trust: Trust, language: LanguageModel
) -> None:
    threshold = 0.6
    batch = SignalConfig(trust=trust, trust_threshold=threshold).build(Cut.step).collect(moved, 5, 1.0)
    sequences = batch.sequences
    logits = completion_logits(language.model, sequences).detach()
    student = token_log_probs(logits, sequences.completion_ids_BT).exp()
    other = token_log_probs(batch.tensors["teacher_logits_BTV"], sequences.completion_ids_BT).exp()
    for row in range(5):
        weight = 1.0
        for position, real in enumerate(sequences.completion_mask_BT[row]):
            assert float(batch.weights_BT[row, position]) == pytest.approx(weight * int(real), abs=1e-5)
            ratio = min(1.0, float(other[row, position] / student[row, position]))
            weight *= ratio if trust is Trust.soft else float(ratio >= threshold)
    kept = batch.metrics["trust/kept_share"]
    assert kept == pytest.approx(float(batch.weights_BT.sum() / sequences.completion_mask_BT.sum()))
    assert 0 < kept < 1
    assert moved.take_tokens()["scored_by_student"] == int(sequences.mask.sum())


def test_trusting_all_keeps_the_mask_and_asks_the_student_nothing(moved: Collector, language: LanguageModel) -> None:
    batch = SignalConfig().build(Cut.step).collect(moved, 5, 1.0)
    assert torch.equal(batch.weights_BT, batch.sequences.completion_mask_BT.float())
    assert batch.metrics["trust/kept_share"] == 1.0
    assert moved.take_tokens()["scored_by_student"] == 0


def test_the_oracle_stops_at_the_first_token_that_is_not_the_references(
    moved: Collector, language: LanguageModel
) -> None:
    batch = SignalConfig(trust=Trust.oracle).build(Cut.step).collect(moved, 4, 1.0)
    for row in range(4):
        reference = language.reference_completion(Arithmetic(0).training_problem(row))
        completion = batch.sequences.completion_ids_BT[row].tolist()
        agreed = next(i for i, (a, b) in enumerate(zip(completion, reference, strict=False)) if a != b)
        assert int(batch.weights_BT[row].sum()) == agreed + 1


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_a_threshold_is_a_share(threshold: float) -> None:
    with pytest.raises(UserError, match=r"^signal\.trust_threshold must lie in \(0, 1\], got "):
        SignalConfig(trust_threshold=threshold)
