"""GSM-Symbolic (Mirzadeh and others 2024, arXiv 2410.05229): word problems from templates, without end and offline.

The package reasoning-gym makes them, with worked solutions. All splits share the templates.
"""

from __future__ import annotations

from dataclasses import dataclass

from atesd.errors import UserError
from atesd.registry import register
from atesd.tasks.generated import GeneratedTask
from atesd.tasks.problem import DataConfig, Problem
from atesd.text import cut_lines


class GsmSymbolic(GeneratedTask):
    """Word problems of grade school."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        try:
            from reasoning_gym.arithmetic import gsm_symbolic
        except ImportError:
            raise UserError("data=gsm_symbolic needs the package reasoning-gym; pip install -e '.[data]'") from None
        self.maker = gsm_symbolic

    def make(self, key: int) -> Problem:
        settings = self.maker.GSMSymbolicDatasetConfig(seed=key, size=1)
        item = self.maker.GSMSymbolicDataset(settings)[0]
        reference = item["metadata"]["answer_cot"].rpartition("####")[0]
        return Problem(f"gsm_symbolic:{key}", item["question"], reference, item["answer"], len(cut_lines(reference)))


@register("data", "gsm_symbolic")
@dataclass
class GsmSymbolicConfig(DataConfig):
    """It has no settings."""

    def build(self, seed: int) -> GsmSymbolic:
        return GsmSymbolic(seed)
