"""Comparisons worked out by hand, and everything that must not be compared."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atesd.budget import Budget
from atesd.compare import __main__ as comparing
from atesd.compare.__main__ import CompareConfig, command_line, split
from atesd.compare.archive import collect
from atesd.compare.checkpoint_rule import CheckpointRule
from atesd.compare.pairs import PairedTest, sign_flip_effect, sign_flip_p, t_effect
from atesd.compare.table import contrasts_csv, csv_text, latex, lines
from atesd.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))
from finished_runs import write_run


def first(count: int) -> list[int]:
    return list(range(count))


@pytest.fixture
def six_seeds(tmp_path: Path) -> Path:
    """Two methods, six seeds: opsd answers 5, fixed 6, 6, 6, 7, 7, 8 of 10 problems."""
    for seed, right in enumerate((6, 6, 6, 7, 7, 8)):
        write_run(tmp_path / f"fixed/seed={seed}", [first(2), first(3), first(right)], seed)
        write_run(tmp_path / f"opsd/seed={seed}", [first(2), first(2), first(5)], seed, method="opsd")
    return tmp_path


def config(*runs: Path, **changes: Any) -> CompareConfig:
    return CompareConfig(**({"runs": [str(run) for run in runs], "output_dir": "out", "resamples": 2000} | changes))


def compare(config: CompareConfig) -> dict[str, Any]:
    return comparing.compare(config, *collect([Path(run) for run in config.runs]))


def write(result: dict[str, Any], folder: Path) -> None:
    runs = [Path(run["run"]) for row in result["methods"] for run in row["runs"]]
    comparing.write(result, collect(runs)[0], folder)


def test_a_comparison_by_hand(six_seeds: Path) -> None:
    result = compare(config(six_seeds))
    fixed, opsd = result["methods"]
    assert (fixed["method"], opsd["method"], result["reference"]) == ("fixed", "opsd", "opsd")
    assert (fixed["n"], fixed["seeds"]) == (6, [0, 1, 2, 3, 4, 5])
    assert fixed["mean"] == pytest.approx(2 / 3)
    assert fixed["sd"] == pytest.approx((1 / 150) ** 0.5)
    assert fixed["iqm"] == pytest.approx(0.65)  # of .6 .6 .6 .7 .7 .8 without one at each end
    assert fixed["probability_of_improvement"] == 1.0
    assert opsd["probability_of_improvement"] is None
    assert (opsd["mean"], opsd["sd"], opsd["low"], opsd["high"]) == (0.5, 0.0, 0.5, 0.5)
    assert [point["update"] for point in fixed["curve"]] == [0, 2, 4]
    assert fixed["curve"][1]["mean"] == pytest.approx(0.75)
    (contrast,) = result["contrasts"]
    assert contrast["contrast"] == "fixed - opsd"
    assert contrast["gains"] == pytest.approx([0.1, 0.1, 0.1, 0.2, 0.2, 0.3])
    assert contrast["p"] == contrast["p_holm"] == 2 / 64  # all six signs alike
    # Problem 5 is won on every seed, 6 on three of six, 7 on one; the other seven are ties.
    assert contrast["by_problem"]["problems"] == 10
    assert contrast["by_problem"]["mean"] == pytest.approx((1 + 3 / 6 + 1 / 6) / 10)
    assert (contrast["by_problem"]["won"], contrast["by_problem"]["lost"]) == (0.3, 0.0)
    assert result["excluded"] == result["differences"] == result["warnings"] == []
    assert result["budget"] == {"matched": "updates", "tolerance": 0.01, "low": 4, "high": 4}


def test_a_standard_deviation_and_a_t_test_by_hand(tmp_path: Path) -> None:
    for seed, right in enumerate((6, 7, 8)):
        write_run(tmp_path / f"a/{seed}", [[], [], first(right)], seed, method="a")
        write_run(tmp_path / f"b/{seed}", [[], [], first(5)], seed, method="b")
    result = compare(config(tmp_path, reference="b", test=PairedTest.t))
    best, (contrast,) = result["methods"][0], result["contrasts"]
    assert best["sd"] == pytest.approx(0.1)
    assert best["high"] == pytest.approx(0.7 + 4.302653 * 0.1 / 3**0.5, abs=1e-6)
    assert contrast["p"] == pytest.approx(0.074180, abs=1e-6)  # t = 0.2 / (0.1 / sqrt 3) with 2 degrees of freedom
    assert contrast["detectable"] == pytest.approx(0.1 * 3.2598, rel=0.02)


def test_methods_are_told_apart_by_what_was_set(tmp_path: Path) -> None:
    for seed in (0, 1):
        for exposure in (0.25, 1.0):
            write_run(tmp_path / f"{exposure}/{seed}", [[], [], [0]], seed, exposure=exposure)
    names = [row["method"] for row in compare(config(tmp_path))["methods"]]
    assert sorted(names) == ["fixed exposure=0.25", "fixed exposure=1.0"]


def test_holm_counts_the_declared_contrasts_alone(six_seeds: Path) -> None:
    for seed in range(6):
        write_run(six_seeds / f"sft/{seed}", [[], [], first(4)], seed, method="sft")
    default = compare(config(six_seeds))
    assert [row["contrast"] for row in default["contrasts"]] == ["fixed - opsd", "sft - opsd"]
    assert [row["p_holm"] for row in default["contrasts"]] == [2 * 2 / 64] * 2
    declared = compare(config(six_seeds, contrasts=["fixed-sft"]))
    assert [(row["contrast"], row["p_holm"]) for row in declared["contrasts"]] == [("fixed - sft", 2 / 64)]
    assert any("significance among 2 contrasts needs 7" in warning for warning in default["warnings"])


def test_too_few_seeds_are_warned_of(six_seeds: Path) -> None:
    five = [six_seeds / method / f"seed={seed}" for method in ("fixed", "opsd") for seed in range(5)]
    result = compare(config(*five))
    assert result["contrasts"][0]["p"] == result["contrasts"][0]["smallest_p"] == 1 / 16
    assert result["warnings"] == [
        "too few seeds: 5 pairs with test=permutation: p cannot go under 0.062, significance needs 6 (fixed - opsd)"
    ]


def test_what_so_few_seeds_cannot_find_has_no_size(six_seeds: Path) -> None:
    five = [six_seeds / method / f"seed={seed}" for method in ("fixed", "opsd") for seed in range(5)]
    assert compare(config(*five))["contrasts"][0]["detectable"] is None
    found = compare(config(six_seeds))["contrasts"][0]
    assert found["detectable"] == pytest.approx(found["sd"] * sign_flip_effect(6, 0.05))


@pytest.mark.parametrize(("pairs", "level"), [(6, 0.05), (8, 0.05), (10, 0.05 / 4)])
def test_an_effect_called_detectable_is_detected_four_times_in_five(pairs: int, level: float) -> None:
    drawn = np.random.default_rng(1).standard_normal((400, pairs)) + sign_flip_effect(pairs, level)
    assert np.mean([sign_flip_p(each) <= level for each in drawn]) == pytest.approx(0.8, abs=0.06)
    assert sign_flip_effect(pairs, level) > t_effect(pairs, level)


def test_with_fourteen_pairs_the_sign_flip_test_finds_what_the_t_test_finds() -> None:
    assert sign_flip_effect(14, 0.05) == pytest.approx(t_effect(14, 0.05), abs=0.02)
    assert sign_flip_effect(15, 0.05) == t_effect(15, 0.05)


def test_gains_that_tie_but_for_their_last_bits_tie() -> None:
    gains = np.array([1, 10, 22, 27]) / 30 - np.array([2, 8, 24, 26]) / 30
    assert sign_flip_p(gains) == 1.0  # as of -1, 2, -2, 1, whose sum is 0


def test_a_t_test_of_equal_gains_is_warned_of(tmp_path: Path) -> None:
    for seed, right in enumerate((6, 7, 8)):
        write_run(tmp_path / f"a/{seed}", [[], [], first(right)], seed, method="a")
        write_run(tmp_path / f"b/{seed}", [[], [], first(right - 1)], seed, method="b")
    result = compare(config(tmp_path, reference="b", test=PairedTest.t))
    assert (result["contrasts"][0]["sd"], result["contrasts"][0]["detectable"]) == (0.0, None)
    assert result["warnings"] == ["a - b: all 3 pairs gained the same, of which the t test's p says nothing"]


def test_seeds_without_a_partner_are_named(six_seeds: Path) -> None:
    runs = [six_seeds / "fixed", *(six_seeds / f"opsd/seed={seed}" for seed in range(1, 6))]
    result = compare(config(*runs))
    assert result["contrasts"][0]["seeds"] == [1, 2, 3, 4, 5]
    assert "fixed - opsd: seeds without a partner left out: [0]" in result["warnings"]
    assert "P(fixed > opsd) is of the 5 of 6 runs that have a partner" in result["warnings"]


def test_only_contrasts_that_holm_can_never_accept_are_called_hopeless(six_seeds: Path) -> None:
    for seed in range(7):
        write_run(six_seeds / f"sft/{seed}", [[], [], first(4)], seed, method="sft")
        write_run(six_seeds / f"rft/{seed}", [[], [], first(3)], seed, method="rft")
    result = compare(config(six_seeds, contrasts=["fixed-opsd", "rft-sft"]))
    assert [row["p_holm"] for row in result["contrasts"]] == [2 / 64, 2 * 2 / 128]  # significant, both
    assert not any("too few" in warning for warning in result["warnings"])


def test_a_contrast_declared_twice_is_refused(six_seeds: Path) -> None:
    with pytest.raises(UserError, match=r"contrasts=opsd-fixed is declared twice"):
        compare(config(six_seeds, contrasts=["fixed-opsd", "opsd-fixed"]))


def test_runs_without_a_problem_in_common_are_compared_if_they_must(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"a/{seed}", [[], [], first(6)], seed, method="a")
        write_run(tmp_path / f"b/{seed}", [[], [], first(5)], seed, method="b")
        verdicts = tmp_path / f"b/{seed}/verdicts.jsonl"
        rows = [json.loads(line) for line in verdicts.read_text().splitlines()]
        other = [row | {key: [f"other {p}" for p in row[key]] for key in ("right", "wrong")} for row in rows]
        verdicts.write_text("".join(json.dumps(row) + "\n" for row in other))
    result = compare(config(tmp_path, reference="b", allow_different=True))
    assert result["contrasts"][0]["by_problem"] is None
    assert "a - b: no problem in common" in result["warnings"]


def test_one_run_has_no_interval_and_no_test(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [[], [], first(6)], method="a")
    write_run(tmp_path / "b", [[], [], first(5)], method="b")
    result = compare(config(tmp_path, reference="b"))
    assert {result["methods"][0][key] for key in ("sd", "low", "high", "iqm_low", "iqm_high")} == {None}
    write(result, tmp_path / "compared")
    assert (result["contrasts"][0]["p"], result["contrasts"][0]["detectable"]) == (1.0, None)
    assert "\n".join(lines(result))


def test_the_last_checkpoint_or_the_best_on_the_probe_never_the_best_on_the_evaluation(tmp_path: Path) -> None:
    # After update 2: 1 of 4 right and the lowest probe NLL; after update 4: all right.
    write_run(tmp_path / "run", [[], [3], first(10)], nll=(0.4, 0.1, 0.2, 0.3))
    (last,) = compare(config(tmp_path))["methods"]
    (probe,) = compare(config(tmp_path, checkpoint_rule=CheckpointRule.best_probe))["methods"]
    assert (last["mean"], last["runs"][0]["update"], last["runs"][0]["problems"]) == (1.0, 4, 10)
    assert (probe["mean"], probe["runs"][0]["update"], probe["runs"][0]["problems"]) == (0.25, 2, 4)


def test_the_best_on_the_probe_is_judged_on_the_problems_of_every_evaluation(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [[], [3], [0, 1, 8, 9]])  # the last is the best, and answers 0 and 1 of the first 4
    (probe,) = compare(config(tmp_path, checkpoint_rule=CheckpointRule.best_probe))["methods"]
    assert (probe["mean"], probe["runs"][0]["update"]) == (0.5, 4)


Change = Callable[[Path], object]
Python = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("settings", "summary", "message"),
    [
        ({"data.name": "gsm"}, {}, r"task: arithmetic \(.*a\), gsm \(.*b\)"),
        ({"data.path": "x"}, {}, r"task: arithmetic \(.*\), arithmetic path=x"),
        ({}, {"commit": "def"}, r"commit: abc \(.*a\), def \(.*b\)"),
        (
            {},
            {"updates": 4, "total/tokens/generated": 1020},
            r"budget tokens_generated .*tolerance=0\.01.*: 1000 .*1020",
        ),
    ],
)
def test_runs_that_differ_are_refused_with_the_differences(
    settings: dict[str, Any], summary: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_run(tmp_path / "a", [[], [], first(6)], method="a")
    write_run(tmp_path / "b", [[], [], first(5)], method="b", settings=settings, summary=summary)
    with pytest.raises(UserError, match=f"the runs differ and are not compared: {message}.*--allow-different"):
        compare(config(tmp_path, budget=Budget.tokens_generated))
    result = compare(config(tmp_path, budget=Budget.tokens_generated, allow_different=True))
    assert len(result["methods"]) == 2
    assert len(result["differences"]) == 1
    assert result["warnings"][0].startswith("compared all the same")


def test_other_evaluation_problems_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [[], [], first(6)], method="a")
    other = write_run(tmp_path / "b", [[], [], first(5)], method="b") / "verdicts.jsonl"
    other.write_text(other.read_text().replace('"p9"', '"q9"'))
    with pytest.raises(UserError, match=r"evaluation set: 10 problems, [0-9a-f]{8} \(.*a\), 10 problems, [0-9a-f]{8}"):
        compare(config(tmp_path))


def test_budgets_within_the_tolerance_are_matched(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [[], [], first(6)], method="a")
    write_run(tmp_path / "b", [[], [], first(5)], method="b", summary={"total/seconds": 8.5})
    assert compare(config(tmp_path))["differences"] == []
    with pytest.raises(UserError, match=r"budget seconds \(by more than tolerance=0\.01\): 8\.0 \(.*a\), 8\.5"):
        compare(config(tmp_path, budget=Budget.seconds))
    assert compare(config(tmp_path, budget=Budget.seconds, tolerance=0.1))["budget"]["high"] == 8.5


def write_base(folder: Path) -> None:
    """Write a run without an update: its one evaluation is of the base model, and it counted no tokens."""
    unspent = {"updates": 0, "total/tokens/generated": None, "total/seconds": 0.0}
    write_run(folder, [first(3), [], []], method="none", summary=unspent)
    (folder / "metrics.jsonl").write_text("")
    (folder / "decisions.jsonl").write_text("")
    for log in ("evaluations.jsonl", "verdicts.jsonl"):
        (folder / log).write_text((folder / log).read_text().splitlines(keepends=True)[0])


@pytest.mark.parametrize("budget", [Budget.updates, Budget.tokens_generated, Budget.seconds])
def test_a_base_model_is_named_and_held_to_no_budget(budget: Budget, tmp_path: Path) -> None:
    write_run(tmp_path / "a", [first(3), first(3), first(6)], method="a")
    write_base(tmp_path / "base")
    result = compare(config(tmp_path, budget=budget))
    assert (result["bases"], result["differences"]) == (["none"], [])
    assert result["budget"]["low"] == result["budget"]["high"] == {"updates": 4, "seconds": 8.0}.get(budget.name, 1000)
    told = "none is the untrained model, held to no budget"
    assert f"base: {told}" in list(lines(result))
    assert told in latex(result)
    write(result, tmp_path / "out")
    assert told in (tmp_path / "out/report.html").read_text()


def test_two_trained_methods_are_held_to_the_budget_beside_a_base(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [first(3), first(3), first(6)], method="a")
    write_run(tmp_path / "b", [first(3), first(3), first(6)], method="b", summary={"total/seconds": 9.0})
    write_base(tmp_path / "base")
    with pytest.raises(UserError, match=r"budget seconds .*: 8\.0 \(.*a\), 9\.0 \(.*b\)"):
        compare(config(tmp_path, budget=Budget.seconds))


def test_base_models_alone_are_compared(tmp_path: Path) -> None:
    write_base(tmp_path / "base")
    assert compare(config(tmp_path))["budget"]["high"] == 0


def test_a_budget_nobody_counted_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [[], [], []], summary={"total/flops": None})
    with pytest.raises(UserError, match=r"budget=flops: .*a did not count it"):
        compare(config(tmp_path, budget=Budget.flops))


def damage_last_row(run: Path) -> None:
    path = run / "metrics.jsonl"
    path.write_text(path.read_text()[:-9])


def damage_a_row(run: Path) -> None:
    path = run / "metrics.jsonl"
    path.write_text(path.read_text().replace('{"update": 2', '{"upd', 1))


def lose_a_row(run: Path) -> None:
    path = run / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def lose_an_entry(run: Path, entry: str) -> None:
    summary = json.loads((run / "summary.json").read_text())
    del summary[entry]
    (run / "summary.json").write_text(json.dumps(summary))


def lose_a_verdict(run: Path) -> None:
    path = run / "verdicts.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda run: (run / "summary.json").write_text('{"complete": false}'), "still going, or stopped"),
        (lambda run: (run / "summary.json").unlink(), "summary.json is missing"),
        (lambda run: (run / "summary.json").write_text('{"comp'), "summary.json is damaged"),
        (lambda run: (run / "summary.json").write_text("[]"), "summary.json is damaged"),
        (lambda run: lose_an_entry(run, "commit"), "summary.json is damaged: it has no commit"),
        (lambda run: (run / "config.yaml").unlink(), "config.yaml is missing"),
        (lambda run: (run / "config.yaml").write_text("a: ["), "config.yaml is damaged (while parsing"),
        (lambda run: (run / "config.yaml").write_text(""), "config.yaml is damaged: it has no baseline"),
        (lambda run: (run / "config.yaml").write_bytes(b"\xff"), "config.yaml is damaged ('utf-8' codec"),
        (
            lambda run: (run / "metrics.jsonl").write_text("7\n" * 4),
            "metrics.jsonl is damaged in row 1: '7' is no object",
        ),
        (lambda run: (run / "decisions.jsonl").write_bytes(b"\xff\n"), "decisions.jsonl is damaged ('utf-8' codec"),
        (lose_a_verdict, "verdicts.jsonl does not hold the problems of every evaluation"),
        (damage_last_row, "metrics.jsonl is cut off: row 4 has no end"),
        (damage_a_row, "metrics.jsonl is damaged in row 2"),
        (lose_a_row, "metrics.jsonl does not hold 4 student updates but ends at 3"),
        (lambda run: (run / "evaluations.jsonl").unlink(), "evaluations.jsonl has no row"),
        (lambda run: (run / "decisions.jsonl").unlink(), "decisions.jsonl does not hold 1 decisions"),
    ],
)
def test_a_run_that_cannot_count_is_named_and_left_out(spoil: Change, reason: str, tmp_path: Path) -> None:
    write_run(tmp_path / "good", [[], [], first(6)])
    spoil(write_run(tmp_path / "spoilt", [[], [], first(5)], seed=1))
    result = compare(config(tmp_path))
    assert [row["run"] for row in result["methods"][0]["runs"]] == [str(tmp_path / "good")]
    (excluded,) = result["excluded"]
    assert excluded["run"] == str(tmp_path / "spoilt")
    assert excluded["reason"].startswith(reason)
    assert any("left out" in line and reason in line for line in lines(result))
    with pytest.raises(UserError, match=r"no complete run to compare: .*spoilt"):
        compare(config(tmp_path / "spoilt"))


def test_runs_without_verdicts_are_compared_but_not_by_problem(six_seeds: Path) -> None:
    for path in six_seeds.rglob("verdicts.jsonl"):
        path.unlink()
    result = compare(config(six_seeds))
    assert result["contrasts"][0]["by_problem"] is None
    assert result["contrasts"][0]["p"] == 2 / 64
    assert result["warnings"] == ["12 runs kept no verdicts.jsonl: their contrasts are not paired by problem"]
    with pytest.raises(UserError, match=r"checkpoint_rule=best_probe: .* kept no verdicts\.jsonl"):
        compare(config(six_seeds, checkpoint_rule=CheckpointRule.best_probe))


def test_one_seed_twice_is_no_two_samples(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [[], [], []])
    write_run(tmp_path / "b", [[], [], []])
    with pytest.raises(UserError, match=r"a and .*b are both fixed with seed 0"):
        compare(config(tmp_path))
    assert compare(config(tmp_path / "a", tmp_path / "a"))["methods"][0]["n"] == 1  # named twice, but one run


def test_an_unsure_commit_is_warned_of(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [[], [], []], summary={"commit": "abc-dirty"})
    assert "commit abc-dirty: the source is not known" in compare(config(tmp_path))["warnings"][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": []}, "no runs; usage"),
        ({"tolerance": 1.0}, r"tolerance must lie in \[0, 1\), got 1\.0"),
        ({"resamples": 0}, "resamples must be at least 1, got 0"),
        ({"reference": "nope"}, "reference=nope is no method here; there are: fixed, opsd"),
        ({"contrasts": ["fixed-nope"]}, "contrasts=fixed-nope is not two methods as a-b"),
        ({"contrasts": ["fixed-fixed"]}, "contrasts=fixed-fixed is not two methods"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], message: str, six_seeds: Path) -> None:
    with pytest.raises(UserError, match=message):
        compare(config(six_seeds, **changes))


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        compare(config(tmp_path))


def test_names_with_dashes_are_split_where_both_sides_are_methods() -> None:
    names = ["fixed learning_rate=1e-05", "opsd"]
    assert split("fixed learning_rate=1e-05-opsd", names) == ("fixed learning_rate=1e-05", "opsd")


def test_the_command_line_tells_paths_from_settings(tmp_path: Path) -> None:
    run = tmp_path / "seed=0"
    run.mkdir()
    found = command_line([str(run), "output_dir=out", "contrasts=[a b=1-c]", "--allow-different", "budget=flops"])
    assert (found.runs, found.output_dir, found.contrasts) == ([str(run)], "out", ["a b=1-c"])
    assert (found.allow_different, found.budget) == (True, Budget.flops)
    with pytest.raises(
        UserError, match=r"budgt=flops is neither a folder nor a setting; settings: allow_different, budget"
    ):
        command_line([str(run), "budgt=flops"])
    with pytest.raises(UserError, match="output_dir is missing"):
        command_line([str(run)])


def test_files_hold_the_table(six_seeds: Path, tmp_path: Path) -> None:
    result = compare(config(six_seeds))
    write(result, tmp_path / "out")
    write(result, tmp_path / "out")  # an earlier comparison is replaced
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("compare.json", "compare.csv", "contrasts.csv", "compare.tex"),
        *("methods.png", "curves.png", "contrasts.png", "report.html"),
    }
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == result
    rows = list(csv.DictReader(csv_text(result).splitlines()))
    assert [(row["method"], row["n"], row["p"]) for row in rows] == [("fixed", "6", "0.03125"), ("opsd", "6", "")]
    assert r"fixed & 6 & $66.7 \pm 8.2$ & [58.1, 75.2] & 65.0 & $+16.7$ & 0.031 \\" in latex(result)
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(word in page for word in ("checkpoint_rule=last", "matched updates (4 to 4)", ">0.650<", ">1.00<"))
    with pytest.raises(UserError, match=r"exists and holds no compare\.json; choose"):
        write(result, six_seeds / "fixed")


def test_a_contrast_that_is_not_against_the_reference_is_written_too(six_seeds: Path, tmp_path: Path) -> None:
    result = compare(config(six_seeds, contrasts=["opsd-fixed"]))
    (row,) = csv.DictReader(contrasts_csv(result).splitlines())
    assert (row["a"], row["b"], row["n"], row["p"]) == ("opsd", "fixed", "6", "0.03125")
    assert r"opsd $-$ fixed & 6 & $-16.7$ & [-25.2, -8.1] & 0.031 & 0.031 \\" in latex(result)
    assert latex(compare(config(six_seeds))).count("tabular") == 2  # of which the table of methods has room
    write(compare(config(six_seeds / "opsd")), tmp_path / "out")
    assert not (tmp_path / "out/contrasts.png").exists()


def test_the_page_judges_as_the_contrasts_do(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"fixed/{seed}", [[], first(4), first(9)], seed, nll=(0.4, 0.1, 0.2, 0.3))
        write_run(tmp_path / f"opsd/{seed}", [[], first(4), first(2)], seed, method="opsd", nll=(0.4, 0.1, 0.2, 0.3))
    write(compare(config(tmp_path, checkpoint_rule=CheckpointRule.best_probe)), tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    judged = page[page.index("Judged") : page.index("Contrasts")]
    assert "checkpoint_rule=best_probe" in judged
    assert judged.count(">1.000<") >= 2  # both, after update 2
    assert page.index("After the last update") > page.index("Judged")


def test_links_to_runs_are_followed_and_those_that_lead_back_are_not(tmp_path: Path) -> None:
    write_run(tmp_path / "elsewhere/a", [[], [], first(6)])
    write_run(tmp_path / "runs/b", [[], [], first(6)], seed=1)
    (tmp_path / "runs/a").symlink_to(tmp_path / "elsewhere/a")
    (tmp_path / "runs/up").symlink_to(tmp_path / "runs")
    runs, excluded = collect([tmp_path / "runs"])
    assert [run.seed for run in runs] == [0, 1]
    assert excluded == []


def test_a_name_with_dollars_is_drawn(six_seeds: Path, tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / f"runs/{seed}", [[], [], first(6)], seed, method="cost $x_{$")
    write(compare(config(tmp_path / "runs")), tmp_path / "out")


@pytest.mark.slow
def test_a_sweep_of_surrogates_is_compared_by_one_command(python: Python, tmp_path: Path) -> None:
    sweep = ["-m", "seed=0,1", "controller=fixed,uniform", "model=surrogate", "tracker=none"]
    length = ["train.updates=16", "eval.every=8", "eval.problems=20", "eval.final_problems=50"]
    python("-m", "atesd.run", *sweep, *length)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "metrics.jsonl").write_text('{"update": 1')
    done = python("-m", "atesd.compare", "outputs", "broken", "contrasts=[uniform-fixed]", "output_dir=out")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert {row["method"]: row["n"] for row in result["methods"]} == {"fixed": 2, "uniform": 2}
    assert [(row["contrast"], row["n"]) for row in result["contrasts"]] == [("uniform - fixed", 2)]
    assert result["contrasts"][0]["by_problem"]["problems"] == 50
    assert result["excluded"] == [{"run": "broken", "reason": "summary.json is missing"}]
    assert "left out: broken: summary.json is missing" in done.stdout
    assert "warning: too few seeds: 2 pairs" in done.stdout
    refused = python("-m", "atesd.compare", "outputs", "budget=flops", "output_dir=other")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: budget=flops: outputs/")
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "other").exists()
