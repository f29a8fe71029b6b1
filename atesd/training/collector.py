"""What a signal may ask for while it collects one update's batch: problems, rollouts, teacher scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor

from atesd.errors import UserError
from atesd.exposure import Cut, segments
from atesd.groups import RunningQuantiles
from atesd.signals import Rollouts
from atesd.stopwatch import Stopwatch
from atesd.tasks.problem import Problem, Task
from atesd.training.difficulty import reference_nlls
from atesd.training.language_model import LanguageModel
from atesd.training.ranks import Ranks
from atesd.training.rollout import Rollout, sample_key
from atesd.training.sequences import Sequences, score_tokens
from atesd.training.teacher import Teacher

# Tokens of prompts the student read, tokens it generated, tokens of all teacher passes, the part of these that scored
# the reference for g, and tokens the student scored without learning from them.
COUNTS = ("prompted", "generated", "scored", "scored_reference", "scored_by_student")


class Collector:
    """One rank's ``UpdateContext``: draws its share of each update's problems from the training stream.

    Attributes:
        size: sequences per teacher pass.
        grounded: whether references are scored for the reward's teacher-grounded term.
        position: next position in the training stream.
        quantiles: of the training problems' difficulty; with ``position`` and ``update``, all there is to resume.
        update: number of the student update being collected for, from 0; part of every sample's key.
        drawn: how often the update has drawn each problem, by id, over all ranks.
        tokens: what was generated, scored by the teacher and scored by the student since ``take_tokens``.
    """

    def __init__(
        self,
        seed: int,
        task: Task,
        language: LanguageModel,
        rollout: Rollout,
        teacher: Teacher,
        ranks: Ranks,
        stopwatch: Stopwatch,
        size: int,
        groups: int,
        grounded: bool,
    ) -> None:
        self.seed = seed
        self.task = task
        self.language = language
        self.rollout = rollout
        self.teacher = teacher
        self.ranks = ranks
        self.stopwatch = stopwatch
        self.size = size
        self.quantiles = RunningQuantiles(groups)
        self.grounded = grounded
        self.position = 0
        self.update = 0
        self.drawn: Counter[str] = Counter()
        self.tokens = dict.fromkeys(COUNTS, 0)

    def begin(self, update: int) -> None:
        """Begin to collect for a student update."""
        self.update = update
        self.drawn.clear()

    def total(self, value: float) -> float:
        return sum(self.ranks.gather(value))

    def mean(self, values_BT: Tensor, mask_BT: Tensor) -> float:
        return self.total(float(values_BT.sum())) / self.total(float(mask_BT.sum()))

    def next_problems(self, rows: int, rows_per_problem: int = 1) -> list[Problem]:
        count = rows // rows_per_problem
        if count % self.ranks.size:  # ranks with unequal batches would wait for each other for ever
            raise UserError(
                f"train.batch_size={rows} makes {count} problems of {rows_per_problem} samples, which do not divide "
                f"over {self.ranks.size} processes; choose a multiple of {rows_per_problem * self.ranks.size}"
            )
        positions = list(range(self.position, self.position + count))
        self.position += count
        return self.ranks.share([self._draw(position) for position in positions])

    def _draw(self, position: int) -> Problem:
        problem = self.task.training_problem(position)
        before, self.drawn[problem.id] = self.drawn[problem.id], self.drawn[problem.id] + 1
        return replace(problem, draw=before) if before else problem

    def sample(self, problems: Sequence[Problem], samples: int = 1) -> Rollouts:
        rows = [problem for problem in problems for _ in range(samples)]
        keys = [
            sample_key(self.seed, self.update, problem, problem.draw * samples + sample)
            for problem in problems
            for sample in range(samples)
        ]
        prompts = [self.language.student_prompt(problem) for problem in rows]
        with self.stopwatch.phase("rollout"):
            completions = self.rollout.generate(prompts, keys)
        self.tokens["prompted"] += sum(map(len, prompts))
        self.tokens["generated"] += sum(map(len, completions))
        return Rollouts(rows, prompts, completions, [self.language.decode(completion) for completion in completions])

    def steps_of(self, problem: Problem, cut: Cut) -> list[str]:
        return segments(
            problem, cut, self.task, lambda text: self.language.token_pieces(text, f"problem {problem.id}, reference")
        )

    def groups_of(self, problems: Sequence[Problem]) -> list[int]:
        if self.quantiles.groups == 1:  # nothing to measure
            return [0] * len(problems)
        with self.stopwatch.phase("groups"):
            nlls, tokens = reference_nlls(self.language, problems, self.size)
            self.quantiles.include([nll for share in self.ranks.gather(nlls) for nll in share])
        self.tokens["scored_by_student"] += tokens
        return self.quantiles.groups_of(nlls)

    def sequences(
        self, problems: Sequence[Problem], prompts: list[list[int]], completions: list[list[int]]
    ) -> Sequences:
        return self.language.collate_for(problems, prompts, completions)

    def teacher_logits(self, sequences: Sequences) -> Tensor:
        with self.stopwatch.phase("teacher"):
            logits_BTV = self.teacher.logits(sequences, self.size)
        self.tokens["scored"] += int(sequences.mask.sum())
        return logits_BTV

    def reference_log_probs(self, sequences: Sequences) -> Tensor:
        with self.stopwatch.phase("teacher"):
            log_probs_BT = self.teacher.log_probs(sequences, self.size)
        for count in ("scored", "scored_reference"):
            self.tokens[count] += int(sequences.mask.sum())
        return log_probs_BT

    def student_log_probs(self, sequences: Sequences) -> Tensor:
        with self.stopwatch.phase("student"):
            log_probs_BT = score_tokens(self.language.model, sequences, self.size)
        self.tokens["scored_by_student"] += int(sequences.mask.sum())
        return log_probs_BT

    def take_tokens(self) -> dict[str, int]:
        """Return the tokens counted since the last call."""
        taken, self.tokens = self.tokens, dict.fromkeys(COUNTS, 0)
        return taken

    @contextmanager
    def rewinding(self) -> Iterator[None]:
        """Give the problems drawn in the block back to the stream."""
        position, drawn, thresholds = self.position, self.drawn.copy(), self.quantiles.thresholds
        yield
        self.position, self.drawn, self.quantiles.thresholds = position, drawn, thresholds
        self.take_tokens()
