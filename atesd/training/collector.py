"""What a signal may ask for while it collects one update's batch: problems, rollouts, teacher scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from atesd.errors import UserError
from atesd.exposure import Cut, segments
from atesd.signals import Rollouts
from atesd.stopwatch import Stopwatch
from atesd.tasks.problem import Problem, Task
from atesd.training.language_model import LanguageModel
from atesd.training.ranks import Ranks
from atesd.training.rollout import Rollout, sample_key
from atesd.training.sequences import Sequences
from atesd.training.teacher import Teacher


class Collector:
    """One rank's ``UpdateContext``: draws its share of each update's problems from the training stream.

    Attributes:
        position: next position in the training stream; with ``update``, all there is to resume.
        update: number of the student update being collected for, from 0; part of every sample's key.
        tokens: what was generated and scored since ``take_tokens``.
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
    ) -> None:
        self.seed = seed
        self.task = task
        self.language = language
        self.rollout = rollout
        self.teacher = teacher
        self.ranks = ranks
        self.stopwatch = stopwatch
        self.position = 0
        self.update = 0
        self.tokens = {"generated": 0, "scored": 0}

    def next_problems(self, rows: int, rows_per_problem: int = 1) -> list[Problem]:
        count = rows // rows_per_problem
        if count % self.ranks.size:  # ranks with unequal batches would wait for each other for ever
            raise UserError(
                f"train.batch_size={rows} makes {count} problems of {rows_per_problem} samples, which do not divide "
                f"over {self.ranks.size} processes; choose a multiple of {rows_per_problem * self.ranks.size}"
            )
        positions = list(range(self.position, self.position + count))
        self.position += count
        return [self.task.training_problem(position) for position in self.ranks.share(positions)]

    def sample(self, problems: Sequence[Problem], samples: int = 1) -> Rollouts:
        rows = [problem for problem in problems for _ in range(samples)]
        keys = [
            sample_key(self.seed, self.update, problem, sample) for problem in problems for sample in range(samples)
        ]
        prompts = [self.language.student_prompt(problem) for problem in rows]
        with self.stopwatch.phase("rollout"):
            completions = self.rollout.generate(prompts, keys)
        self.tokens["generated"] += sum(map(len, completions))
        return Rollouts(rows, prompts, completions, [self.language.decode(completion) for completion in completions])

    def steps_of(self, problem: Problem, cut: Cut) -> list[str]:
        return segments(
            problem, cut, self.task, lambda text: self.language.token_pieces(text, f"problem {problem.id}, reference")
        )

    def sequences(
        self, problems: Sequence[Problem], prompts: list[list[int]], completions: list[list[int]]
    ) -> Sequences:
        return self.language.collate_for(problems, prompts, completions)

    def teacher_logits(self, sequences: Sequences) -> Tensor:
        with self.stopwatch.phase("teacher"):
            logits_BTV = self.teacher.logits(sequences)
        self.tokens["scored"] += int(sequences.mask.sum())
        return logits_BTV

    def take_tokens(self) -> dict[str, int]:
        """Return the tokens counted since the last call."""
        taken, self.tokens = self.tokens, {"generated": 0, "scored": 0}
        return taken

    @contextmanager
    def rewinding(self) -> Iterator[None]:
        """Give the problems drawn in the block back to the stream."""
        position = self.position
        yield
        self.position = position
        self.take_tokens()
