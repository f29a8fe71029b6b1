"""Problems made on demand: the same for the same key, in one split each, with references that reach their answers."""

from __future__ import annotations

import pytest

from atesd.errors import UserError
from atesd.registry import config_of
from atesd.tasks.chain_sum import ChainSumConfig
from atesd.tasks.problem import DataConfig, Split

GENERATED = ("chain_sum", "gsm_symbolic")


def config(name: str) -> DataConfig:
    return config_of("data", name)(name=name)


@pytest.mark.parametrize("name", GENERATED)
def test_a_seed_is_a_stream_and_held_out_problems_are_the_same_for_all(name: str) -> None:
    one, same, other = (config(name).build(seed) for seed in (0, 0, 1))
    streams = [[task.training_problem(position) for position in range(20)] for task in (one, same, other)]
    assert streams[0] == streams[1] != streams[2]
    assert one.held_out(Split.probe, 20) == other.held_out(Split.probe, 20)


@pytest.mark.parametrize("name", GENERATED)
def test_no_text_is_in_two_splits(name: str) -> None:
    task = config(name).build(0)
    texts = [{problem.text for problem in task.held_out(split, 40)} for split in (Split.probe, Split.evaluation)]
    texts.append({task.training_problem(position).text for position in range(200)})
    assert [len(found) for found in texts[:2]] == [40, 40]
    assert len(set.union(*texts)) == sum(map(len, texts))


def test_a_chain_is_worked_line_by_line_to_its_answer() -> None:
    task = ChainSumConfig(name="chain_sum", fewest=2, most=3, digits=1).build(0)
    for problem in task.held_out(Split.evaluation, 50):
        steps = task.steps(problem.reference)
        assert "".join(steps) == problem.reference
        assert len(steps) == problem.difficulty in (2, 3)
        assert steps[-1].strip().endswith(f"= {problem.answer}")
        for step in steps:
            left, right = step.split("=")
            assert eval(left) == int(right)
        assert eval(problem.text.removeprefix("What is ").removesuffix("?")) == int(problem.answer)


def test_more_problems_than_there_are_is_refused() -> None:
    task = ChainSumConfig(name="chain_sum", fewest=1, most=1, digits=1).build(0)
    with pytest.raises(UserError, match=r"no more than \d\d different problems for evaluation, not 100; ask for fewer"):
        task.held_out(Split.evaluation, 100)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fewest": 0}, r"data\.fewest must be from 1 to data\.most=3 operations, got 0"),
        ({"fewest": 4}, r"data\.fewest must be from 1 to data\.most=3 operations, got 4"),
        ({"digits": 0}, r"data\.digits must be from 1 to 9, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(given: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ChainSumConfig(name="chain_sum", **given)
