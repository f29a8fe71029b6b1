"""One surrogate student behind the interface of the real trainer: a whole run takes a second and needs no model."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from atesd.errors import UserError
from atesd.exposure import Exposure, of_group
from atesd.interfaces import Reading, State, StudentTrainer, UpdateReport, Verdict
from atesd.rewards import ProgressSignal
from atesd.surrogate.law import CHANNELS, Minds, Surrogates, Values, family

STATE_FILE = "trainer.json"


class SurrogateTrainer(StudentTrainer):
    """Trains a closed-form student; unlike a real one it may ``start`` again, which brings the base student back.

    Args:
        family: key of ``atesd.surrogate.law.FAMILIES``.
        noise: standard deviation of the readings.
        seed: of the student's constants and of its noise.
        updates: student updates in the run.
        signal: the reading that is the progress signal: probe NLL or loss.
    """

    def __init__(
        self,
        family: str,
        noise: float,
        seed: int,
        updates: int,
        signal: ProgressSignal = ProgressSignal.probe_nll,
    ) -> None:
        self.settings = {"family": family, "noise": noise, "seed": seed, "updates": updates}
        if signal.value not in CHANNELS:
            raise UserError(
                f"reward.signal={signal.value} is nothing a surrogate student has; choose probe_nll or loss, or "
                "another model"
            )
        self.signal = signal
        self._renew()

    def _renew(self) -> None:
        settings = self.settings
        self.student = Surrogates(
            family(settings["family"], "model.family"),
            np.array([settings["seed"]]),
            settings["updates"],
            settings["noise"],
        )

    @property
    def updates_done(self) -> int:
        return self.student.update_count

    @property
    def competence(self) -> float:
        """Return the share of problems the student solves, free of noise."""
        return float(self.student.competence[0])

    def start(self, exposure: Exposure) -> Reading:
        self._renew()
        return self._reading(self.student.read(of_group(exposure, 0)))

    def update(self, exposure: Exposure) -> UpdateReport:
        exposure = of_group(exposure, 0)
        reading = self._reading(self.student.teach(exposure))
        return UpdateReport(
            reading,
            {
                "loss/optimised": reading.loss,
                "loss/kl_nats_per_token": reading.loss,
                "student/confidence": reading.confidence,
                "student/competence": self.competence,
                "mismatch/top1_disagreement": reading.mismatch,
                # The worst tokens' share of the KL. ours
                "mismatch/kl_tail_nats": 4 * reading.loss,
                "exposure/asked": exposure,
                "exposure/realised": exposure,
                "teacher/reference_log_prob_nats_per_token": reading.teacher_log_prob,
                "probe/nll_nats_per_token": reading.probe_nll,
                "probe/progress_signal": reading.progress_signal,
            },
        )

    def _reading(self, readings: Values) -> Reading:
        values = dict(zip(CHANNELS, readings[:, 0].tolist(), strict=True))
        return Reading(progress_signal=values[self.signal.value], **values)

    def evaluate(self, count: int) -> list[Verdict]:
        return [Verdict(f"surrogate-{i}", 1, right) for i, right in enumerate(self.student.answers(count)[0].tolist())]

    def measure(self) -> dict[ProgressSignal, float]:
        return {}

    def save(self, folder: Path) -> None:
        (folder / STATE_FILE).write_text(json.dumps(self._state()))

    def load(self, folder: Path) -> None:
        self.restore(json.loads((folder / STATE_FILE).read_text()))

    def snapshot(self) -> State:
        return copy.deepcopy(self._state())

    def restore(self, snapshot: State) -> None:
        state = copy.deepcopy(snapshot)
        self.settings = state["settings"]
        self._renew()
        self.student.update_count = state["updates_done"]
        self.student.minds = Minds(**{name: np.array(values) for name, values in state["minds"].items()})

    def export(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "surrogate.json").write_text(json.dumps({**self._state(), "competence": self.competence}) + "\n")

    def _state(self) -> State:
        minds = {name: values.tolist() for name, values in asdict(self.student.minds).items()}
        return {"settings": self.settings, "updates_done": self.updates_done, "minds": minds}
