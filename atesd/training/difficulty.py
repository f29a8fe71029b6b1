"""How hard the student finds a problem: the NLL it gives the reference (``atesd.groups`` says what it is good for)."""

from __future__ import annotations

from collections.abc import Sequence

from atesd.tasks.problem import Problem
from atesd.training.language_model import LanguageModel
from atesd.training.sequences import score_tokens


def reference_nlls(language: LanguageModel, problems: Sequence[Problem], size: int) -> tuple[list[float], int]:
    """Return the NLL of each problem's reference completion after the bare prompt, nats, and the tokens it took.

    Args:
        size: sequences per pass.
    """
    prompts = [language.student_prompt(problem) for problem in problems]
    references = [language.reference_completion(problem) for problem in problems]
    sequences = language.collate_for(problems, prompts, references)
    log_probs_BT = score_tokens(language.model, sequences, size).double() * sequences.completion_mask_BT
    return (-log_probs_BT.sum(1)).tolist(), int(sequences.mask.sum())
