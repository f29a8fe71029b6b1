"""Specimens: rollouts of a few fixed probe problems, with what student and teacher thought of every token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atesd.errors import UserError
from atesd.exposure import Cut, Revealed, reveal
from atesd.interfaces import State
from atesd.losses import token_divergence
from atesd.tasks.problem import Problem
from atesd.training.collector import Collector
from atesd.training.rollout import sample_key
from atesd.training.sequences import Sequences, completion_logits

# Entries kept of each next-token distribution, and their decimals. ours
TOP = 3
DECIMALS = 5


class Specimens:
    """Samples one completion per problem and scores it by the student, and by the teacher at several exposures.

    Draws from keys of its own problems and counts no tokens, so a run with specimens is the run without.
    """

    def __init__(self, collector: Collector, problems: list[Problem], cut: Cut) -> None:
        self.collector = collector
        self.language = collector.language
        self.problems = problems
        self.cut = cut

    def rows(self, update: int, exposures: Sequence[float]) -> list[State]:
        """Return a row of ``rollouts.jsonl`` per problem, the teacher at ``exposures`` and at none and all.

        Raises:
            UserError: a problem's reference has no segments, or does not fit the teacher's prompt.
        """
        if not self.problems:  # a rank's share of a few; ranks that share a sampler call it together
            self.collector.rollout.generate([], [])
            return []
        try:
            with torch.no_grad():
                return self._rows(update, sorted({0.0, *exposures, 1.0}))
        except UserError as error:
            raise UserError(f"{error}; or record no rollouts with eval.rollouts=0") from error

    def _rows(self, update: int, exposures: list[float]) -> list[State]:
        prompts = [self.language.student_prompt(problem) for problem in self.problems]
        keys = [sample_key(self.collector.seed, update, problem, sample=0) for problem in self.problems]
        completions = self.collector.rollout.generate(prompts, keys)
        sequences = self.language.collate_for(self.problems, prompts, completions)
        student_BTV = completion_logits(self.language.model, sequences)
        rows = [
            {"update": update, **self._told(problem, completion)}
            for problem, completion in zip(self.problems, completions, strict=True)
        ]
        for row, top in zip(rows, self._top(student_BTV, sequences), strict=True):
            row |= {"student": top, "teacher": []}
        for exposure in exposures:
            scores = self._teacher(exposure, completions, student_BTV)
            for row, score in zip(rows, scores, strict=True):
                row["teacher"].append(score)
        return rows

    def _told(self, problem: Problem, completion: list[int]) -> State:
        text = self.language.decode(completion)
        return {
            "problem": problem.id,
            "difficulty": problem.difficulty,
            "question": problem.text,
            "reference": self.language.style.reference_completion(problem),
            "completion": text,
            "correct": self.language.style.is_correct(problem, text),
            "tokens": [self._text(token) for token in completion],
        }

    def _teacher(self, exposure: float, completions: list[list[int]], student_BTV: Tensor) -> list[State]:
        """Return per problem what the teacher at one exposure makes of the completion; KL in nats per token."""
        shown = [reveal(self.collector.steps_of(problem, self.cut), exposure) for problem in self.problems]
        sequences = self.language.collate_for(self.problems, self._prompts(shown), completions)
        teacher_BTV = self.collector.teacher.logits(sequences, len(sequences))
        kl_BT = token_divergence(student_BTV, teacher_BTV)
        return [
            {
                "exposure": exposure,
                "realised": revealed.realised,
                "kl_nats": [round(value, DECIMALS) for value in kl_T[: len(top)].tolist()],
                "top": top,
            }
            for revealed, kl_T, top in zip(shown, kl_BT, self._top(teacher_BTV, sequences), strict=True)
        ]

    def _prompts(self, shown: Sequence[Revealed]) -> list[list[int]]:
        return [self.language.teacher_prompt(p, each.text) for p, each in zip(self.problems, shown, strict=True)]

    def _top(self, logits_BTV: Tensor, sequences: Sequences) -> list[list[list[list[str | float]]]]:
        """Return [text, probability] of the most likely entries, per problem and token, the likeliest first."""
        found = logits_BTV.softmax(-1).topk(min(TOP, logits_BTV.shape[-1]), dim=-1)
        lengths = sequences.completion_mask_BT.sum(1).tolist()
        return [
            [
                [[self._text(token), round(share, DECIMALS)] for token, share in zip(ids, shares, strict=True)]
                for ids, shares in zip(ids_TK[:length], shares_TK[:length], strict=True)
            ]
            for length, ids_TK, shares_TK in zip(lengths, found.indices.tolist(), found.values.tolist(), strict=True)
        ]

    def _text(self, token: int) -> str:
        return str(self.language.tokenizer.decode([token]))
