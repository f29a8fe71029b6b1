"""Trust the teacher only while the student's prefix is plausible to it. ours: no paper's, see EXPERIMENTS.md.

A teacher that holds the reference goes on from the reference where the student has left it, so its targets contradict
the student's own text. Each rule says how plausible every sampled token is, in [0, 1]; a token weighs the product over
all tokens *before* it. The token that breaks the trust still counts: there the teacher says what was better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from atesd.signals import Rollouts, UpdateContext

if TYPE_CHECKING:
    from torch import Tensor

    from atesd.training.sequences import Sequences


class Trust(StrEnum):
    """Which tokens the teacher is trusted on, with p_teacher / p_student of the sampled tokens before.

    Strings, so that a folder can be named by them.

    Attributes:
        all: every token (the paper's, and OPSD's).
        first_miss: up to and including the first token whose ratio is below the threshold.
        soft: weighted by the product of min(1, ratio) over the tokens before.
        oracle: up to and including the first token that is not the reference's; an upper bound, it uses the label.
    """

    all = "all"
    first_miss = "first_miss"
    soft = "soft"
    oracle = "oracle"


@dataclass(frozen=True)
class Scored:
    """One update's rollouts with the teacher's scores: what a rule may look at.

    Attributes:
        threshold: least ratio that ``first_miss`` takes for plausible.
    """

    context: UpdateContext
    rollouts: Rollouts
    sequences: Sequences
    teacher_logits_BTV: Tensor
    threshold: float


def token_weights(trust: Trust, scored: Scored) -> Tensor:
    """Return the weight [B, T] of every sampled token's loss: 0 on padding, 1 on every first token."""
    return trusted(_PLAUSIBLE[trust](scored)) * scored.sequences.completion_mask_BT


def trusted(plausible_BT: Tensor) -> Tensor:
    """Return the product of the plausibilities of the tokens before each token.

    >>> import torch
    >>> trusted(torch.tensor([[1.0, 0.0, 1.0, 1.0], [1.0, 0.5, 0.5, 0.1]])).tolist()
    [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.5, 0.25]]
    """
    weights_BT = plausible_BT.cumprod(1).roll(1, dims=1)
    weights_BT[:, 0] = 1.0
    return weights_BT


def relative(student_log_probs_BT: Tensor, teacher_log_probs_BT: Tensor) -> Tensor:
    """Return min(1, p_teacher / p_student): below 1 only where the teacher likes a token less than the student did.

    Relative, since with a real vocabulary the student's own probability of a token it sampled is often small. (The
    prototype's threshold on p_teacher alone, 0.1, is for 22 characters: on a real model it kept 5 of 44 tokens at .01.)

    >>> import torch
    >>> relative(torch.tensor([[0.5, 0.2, 0.8]]).log(), torch.tensor([[0.5, 0.4, 0.2]]).log())
    tensor([[1.0000, 1.0000, 0.2500]])
    """
    ratio_BT: Tensor = (teacher_log_probs_BT - student_log_probs_BT).clamp(max=0).exp()
    return ratio_BT


def agreeing(sequences: Sequences, references: list[list[int]]) -> Tensor:
    """Return 1 where a sampled token is the reference's at the same place, else 0; compared as token ids."""
    same_BT = sequences.completion_mask_BT.float().fill_(0.0)
    for row, reference in enumerate(references):
        ids = sequences.completion_ids_BT[row, : len(reference)]
        same_BT[row, : len(ids)] = (ids == ids.new_tensor(reference[: len(ids)])).float()
    return same_BT


def _everywhere(scored: Scored) -> Tensor:
    return scored.sequences.completion_mask_BT.float().fill_(1.0)


def _ratio(scored: Scored) -> Tensor:
    from atesd.losses import token_log_probs

    student_log_probs_BT = scored.context.student_log_probs(scored.sequences)
    ids_BT = scored.sequences.completion_ids_BT
    return relative(student_log_probs_BT, token_log_probs(scored.teacher_logits_BTV, ids_BT))


def _above_threshold(scored: Scored) -> Tensor:
    return (_ratio(scored) >= scored.threshold).float()


def _as_reference(scored: Scored) -> Tensor:
    language = scored.context.language
    return agreeing(scored.sequences, [language.reference_completion(problem) for problem in scored.rollouts.problems])


_PLAUSIBLE: dict[Trust, Callable[[Scored], Tensor]] = {
    Trust.all: _everywhere,
    Trust.first_miss: _above_threshold,
    Trust.soft: _ratio,
    Trust.oracle: _as_reference,
}
