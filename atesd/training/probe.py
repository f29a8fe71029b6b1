"""Progress on the probe problems, which are neither trained on nor evaluated. Each measure counts its own cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from atesd.errors import UserError
from atesd.rewards import ProgressSignal
from atesd.tasks.problem import Problem
from atesd.training.group_readings import Metrics
from atesd.training.language_model import LanguageModel
from atesd.training.ranks import Ranks
from atesd.training.rollout import Rollout
from atesd.training.sequences import score_tokens
from atesd.verify import Grade


@dataclass(frozen=True)
class Measure:
    """A sum over ``count`` tokens or problems, lower is better, and the tokens it took."""

    total: float
    count: int
    tokens_scored: int
    tokens_generated: int = 0


def mean(measures: list[Measure]) -> float:
    """Return the mean over the shares of all ranks."""
    return sum(measure.total for measure in measures) / sum(measure.count for measure in measures)


class Probe:
    """Measures a student on its share of the probe problems, ``size`` sequences a pass."""

    def __init__(self, language: LanguageModel, rollout: Rollout, problems: list[Problem], size: int) -> None:
        self.language = language
        self.rollout = rollout
        self.problems = problems
        self.size = size
        self.prompts = [language.student_prompt(problem) for problem in problems]
        self.references = [language.reference_completion(problem) for problem in problems]

    def reference_nll(self) -> Measure:
        """Return the NLL of the reference completions, in nats over their tokens."""
        return self._nll(self.prompts, self.references)

    def measure(self, signal: ProgressSignal) -> Measure:
        """Return a progress signal that needs generation."""
        return self._generated[signal](self.rollout.generate(self.prompts, keys=None))

    def measure_generated(self) -> dict[ProgressSignal, Measure]:
        """Return all progress signals that need generation, from one generation, which each of them counts."""
        completions = self.rollout.generate(self.prompts, keys=None)
        return {signal: measure(completions) for signal, measure in self._generated.items()}

    @property
    def _generated(self) -> dict[ProgressSignal, Callable[[list[list[int]]], Measure]]:
        return {ProgressSignal.probe_success: self._failures, ProgressSignal.answer_nll: self._answer_nll}

    def _failures(self, completions: list[list[int]]) -> Measure:
        """Count the problems the student answers wrongly, greedily."""
        grades = self.language.style.grade(self.problems, list(map(self.language.decode, completions)))
        wrong = sum(grade is not Grade.right for grade in grades)
        return Measure(float(wrong), len(grades), 0, sum(map(len, completions)))

    def _answer_nll(self, completions: list[list[int]]) -> Measure:
        """Return the NLL of the right answer after the student's own greedy reasoning."""
        prefixes = []
        for problem, prompt, completion in zip(self.problems, self.prompts, completions, strict=True):
            reasoning = self.language.style.reasoning(self.language.decode(completion))
            prefixes.append([*prompt, *self.language.encode(reasoning, f"problem {problem.id}, own reasoning")])
        measure = self._nll(prefixes, self._answers())
        return Measure(measure.total, measure.count, measure.tokens_scored, sum(map(len, completions)))

    def _answers(self) -> list[list[int]]:
        return [
            [*self.language.encode(self.language.style.boxed(problem), f"problem {problem.id}"), self.language.eos_id]
            for problem in self.problems
        ]

    def require_room_for_answers(self) -> None:
        """Refuse a problem whose answer may not fit after the longest reasoning, which would end a run midway."""
        room, context = self.language.room, self.language.context
        for problem, prompt, answer in zip(self.problems, self.prompts, self._answers(), strict=True):
            if len(prompt) + room + len(answer) > context:
                raise UserError(
                    f"reward.signal=answer_nll reads the answer after the student's own reasoning, and problem "
                    f"{problem.id} needs {len(prompt)} tokens of prompt, {room} of reasoning and {len(answer)} of "
                    f"answer, more than the model's {context}; lower rollout.max_new_tokens or take another signal"
                )

    def _nll(self, prompts: list[list[int]], completions: list[list[int]]) -> Measure:
        if not prompts:
            return Measure(0.0, 0, 0)
        sequences = self.language.collate_for(self.problems, prompts, completions)
        log_probs_BT = score_tokens(self.language.model, sequences, self.size)
        mask_BT = sequences.completion_mask_BT
        nll = -(log_probs_BT.double() * mask_BT).sum()
        return Measure(float(nll), int(mask_BT.sum()), int(sequences.mask.sum()))


class Probes:
    """The probes of all difficulty groups, measured over all ranks: every rank must call.

    Attributes:
        groups: this rank's share of each group, the easiest first.
        signal: what is paid for.
    """

    def __init__(self, groups: list[Probe], signal: ProgressSignal, ranks: Ranks) -> None:
        if signal is ProgressSignal.answer_nll:
            for probe in groups:
                probe.require_room_for_answers()
        self.groups = groups
        self.signal = signal
        self.ranks = ranks

    def measure(self) -> list[Metrics]:
        """Return the probe NLL and the progress signal: of all probe problems, then of each group's."""
        nll = progress = self._measured(Probe.reference_nll)
        spent = list(chain(*nll))
        if self.signal in (ProgressSignal.probe_success, ProgressSignal.answer_nll):
            progress = self._measured(lambda probe: probe.measure(self.signal))
            spent += chain(*progress)
        everything: Metrics = {
            "probe/nll_nats_per_token": mean(list(chain(*nll))),
            "probe/progress_signal": mean(list(chain(*progress))),
            "probe/tokens_scored": sum(measure.tokens_scored for measure in spent),
            "probe/tokens_generated": sum(measure.tokens_generated for measure in spent),
        }
        by_group = zip(nll, progress, strict=True)
        return [
            everything,
            *({"probe/nll_nats_per_token": mean(n), "probe/progress_signal": mean(p)} for n, p in by_group),
        ]

    def measure_generated(self) -> dict[ProgressSignal, float]:
        """Return the progress signals that need generation, of all probe problems."""
        shares = list(chain(*self.ranks.gather([probe.measure_generated() for probe in self.groups])))
        return {signal: mean([share[signal] for share in shares]) for signal in shares[0]}

    def _measured(self, measure: Callable[[Probe], Measure]) -> list[list[Measure]]:
        """Return what is measured on each group's probe problems, a list of all ranks' shares per group."""
        shares = self.ranks.gather([measure(probe) for probe in self.groups])
        return [list(of_ranks) for of_ranks in zip(*shares, strict=True)]
