import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import controllers as controllers
from atesd.decisions import Decision, DecisionLedger
from atesd.errors import UserError
from atesd.interfaces import Setting
from atesd.league.__main__ import LeagueConfig, league
from atesd.league.rounds import Block, entry, exposures_and_competence, games, with_twins
from atesd.league.standings import alarm, table
from atesd.rewards import RewardConfig
from atesd.surrogate.law import FAMILIES
from atesd.training.surrogate_trainer import SurrogateTrainer
from envs.exposure_env import ExposureEnv

RULE = RewardConfig().rule(4)


def block(name: str, family: str = "static", noise: float = 0.01, seeds: int = 8, updates: int = 42) -> Block:
    return Block(entry(name), family, noise, 0, seeds - 1, updates, 4, RULE)


def rows_of(*names: str, families: tuple[str, ...] = ("static", "null"), seeds: int = 8) -> list[dict]:
    entries = with_twins([entry(name) for name in names])
    return [row for e in entries for f in families for row in games(replace(block("fixed", f, seeds=seeds), entry=e))]


def run_command(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "atesd.league", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["uniform", "beta_reinforce"])
def test_the_light_path_plays_what_a_run_plays(name):
    played = block(name, "deceptive", seeds=2)
    exposures, competence = exposures_and_competence(played, FAMILIES["deceptive"], np.arange(2))
    for seed in (0, 1):
        trainer = SurrogateTrainer("deceptive", 0.01, seed, 42)
        env = ExposureEnv(trainer, RULE, 42, 4)
        controller = played.entry.config.build(Setting(seed, 11, 6, 4))
        ledger = DecisionLedger(RULE)

        def on_update(update, report, ledger=ledger, controller=controller):
            ledger.record(update, report.reading)
            for matured in ledger.matured(update):
                controller.learn(matured.decision.decision, matured.parts.total)

        env.on_update = on_update
        observation, _ = env.reset()
        ledger.record(0, env.last)
        chosen = []
        for decision in range(11):
            action = controller.act(observation, decision)
            chosen.append(action.exposure)
            ledger.open(Decision(decision, trainer.updates_done, action.exposure, None, [], {}))
            observation, *_ = env.step(np.array([action.exposure]))
        np.testing.assert_allclose(exposures[:, seed], chosen, atol=1e-5)
        assert competence[seed] == pytest.approx(trainer.competence, abs=1e-6)


def test_every_controller_meets_the_same_students():
    rows = rows_of("fixed", "full", families=("rising",))
    fixed, full = (
        [(row["seed"], row["best_fixed"], row["final"] + row["regret"]) for row in rows if row["controller"] == name]
        for name in ("fixed", "full")
    )
    np.testing.assert_allclose(fixed, full)


def test_regret_is_never_negative_against_the_optimum_and_zero_for_the_best_fixed():
    for family in FAMILIES:
        for row in games(block("uniform", family)):
            assert row["regret_optimum"] > -0.01
            assert row["regret_optimum"] >= row["regret"] - 0.01
    # A learning-free controller that happens to hold the best exposure has no regret.
    row = games(block("fixed", "static", seeds=1))[0]
    best = entry("fixed")
    best = replace(best, config=replace(best.config, exposure=row["best_fixed"]))
    assert games(replace(block("fixed", seeds=1), entry=best))[0]["regret"] == pytest.approx(0, abs=1e-9)


def test_a_twin_is_the_same_controller_with_learning_rate_0():
    learner, twin = with_twins([entry("beta_reinforce")])
    assert (twin.name, twin.twin_of) == ("beta_reinforce learning_rate=0", "beta_reinforce")
    assert replace(learner.config, learning_rate=0.0) == twin.config
    assert with_twins([entry("linear")]) == [entry("linear")]


def test_the_table_by_hand():
    entries = [entry("full"), entry("fixed")]
    finals = {"full": [3.0, 5.0, 7.0, 9.0], "fixed": [1.0, 5.0, 8.0, 2.0]}
    rows = [
        {"controller": name, "family": family, "noise": 0.1, "seed": seed}
        | {"final": final, "regret": 10 - final, "regret_optimum": 20 - final}
        for name, values in finals.items()
        for family in ("static", "null")
        for seed, final in enumerate(values)
    ]
    first, second = table(rows, entries)
    assert [first["controller"], second["controller"]] == ["full", "fixed"]
    assert (first["regret"], first["regret_optimum"]) == (4.0, 14.0)
    assert (first["gain"], first["gain_probability"]) == (2.0, 0.625)
    assert first["regret_low"] <= 4.0 <= first["regret_high"]
    assert "gain" not in second


def test_the_alarm_is_silent_in_a_sound_league():
    found = alarm(rows_of("fixed", "full", "uniform", "linear", seeds=20))
    assert found["trials"] >= 1000
    assert found["rate"] == pytest.approx(0.05, abs=0.022)
    assert found["reason"] is None


def test_the_alarm_hears_an_effect_of_exposure():
    rows = rows_of("fixed", "full", "uniform", seeds=20)
    for row in rows:
        row["final"] += 2.0 * (row["controller"] == "full")
    found = alarm(rows)
    assert found["rate"] > 0.05
    assert "students whom exposure cannot affect end up to 2 points apart" in found["reason"]


def test_the_alarm_hears_a_test_that_finds_too_much(monkeypatch):
    import atesd.league.standings

    sound = atesd.league.standings.paired_p_values
    monkeypatch.setattr(atesd.league.standings, "paired_p_values", lambda d: sound(np.repeat(d, 3, axis=1)))
    assert "significant at 5 %" in alarm(rows_of("fixed", "full", seeds=20))["reason"]


def test_without_the_null_family_there_is_no_alarm():
    assert alarm(rows_of("fixed", "full", families=("static",)))["trials"] == 0


SMALL = {"controllers": ["full", "uniform"], "families": ["null", "static"], "noise": [0.01], "seeds": 8}


def test_a_league_writes_goes_on_and_refuses_other_settings(tmp_path):
    config = LeagueConfig(str(tmp_path), updates=20, workers=1, **SMALL)
    result = league(config)
    assert json.loads((tmp_path / "league.json").read_text()) == result
    assert {row["controller"] for row in result["rows"]} == {"full", "uniform", "fixed"}
    assert len(result["rows"]) == 3 * 2 * 8
    assert {"controller", "family", "noise", "seed", "regret"} <= set(result["rows"][0])
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["families_noise_0.01.png", "regret.png"]

    played = {path: path.stat().st_mtime_ns for path in (tmp_path / "blocks").iterdir()}
    lost = next(path for path in played if "full,null" in path.name)
    lost.unlink()
    assert league(config)["rows"] == result["rows"]
    assert [path for path, when in played.items() if path.stat().st_mtime_ns != when] == [lost]
    with pytest.raises(UserError, match="was played with other settings; choose another output_dir"):
        league(LeagueConfig(str(tmp_path), updates=24, workers=1, **SMALL))


@pytest.mark.slow
def test_the_command_exits_with_the_alarm(tmp_path):
    settings = ["controllers=[full]", "families=[null]", "noise=[0.01]", "seeds=8", "updates=12", "workers=1"]
    sound = run_command(*settings, f"output_dir={tmp_path}")
    assert sound.returncode == 0, sound.stderr
    assert "comparisons significant in the null family" in sound.stdout
    spoiled = next(path for path in (tmp_path / "blocks").iterdir() if "full,null" in path.name)
    block = json.loads(spoiled.read_text())
    for row in block["rows"]:
        row["final"] += 3.0
    spoiled.write_text(json.dumps(block))
    broken = run_command(*settings, f"output_dir={tmp_path}")
    assert broken.returncode == 1
    assert broken.stderr.startswith(
        "error: the league is broken: students whom exposure cannot affect end up to 3 points"
    )
    assert len(broken.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["families=[best]"], "families=best is no surrogate family; known: static, rising"),
        (["controllers=[best]"], "controllers=best is not registered; known: alp_gmm, "),
        (["seeds=5"], "seeds must be at least 6, got 5"),
        (["noise=[-1]"], "noise must be finite numbers of 0 or more, got [-1.0]"),
        (["noise=[0.1,0.1]"], "noise must name at least one, and each once, got [0.1, 0.1]"),
        (["workers=0"], "workers must be at least 1, got 0"),
        (["reward.signal=loss"], "reward.signal=loss is not what the league reads"),
        (["seedz=3"], "seedz"),
        (["seeds=many"], "many"),
    ],
)
def test_what_is_refused(arguments, message, monkeypatch, tmp_path):
    from atesd.league.__main__ import main

    monkeypatch.setattr(sys, "argv", ["league", f"output_dir={tmp_path / 'new'}", *arguments])
    with pytest.raises(UserError) as refused:
        main()
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert not Path(tmp_path / "new").exists()


def test_a_missing_output_dir_is_named(monkeypatch):
    from atesd.league.__main__ import main

    monkeypatch.setattr(sys, "argv", ["league"])
    with pytest.raises(UserError, match="output_dir is missing"):
        main()


def test_the_default_line_up_is_every_controller_without_open_settings():
    names = {each.name for each in LeagueConfig(output_dir="x").entries()}
    assert {"fixed", "linear", "beta_reinforce", "beta_reinforce learning_rate=0"} <= names
    assert "uniform" not in {each.name for each in LeagueConfig(output_dir="x", without=["uniform"]).entries()}


def test_by_default_all_controllers_play_that_need_no_settings():
    playing = {each.name for each in LeagueConfig(output_dir="x").entries()}
    assert {"gp_ucb", "beta_reinforce", "guarded"} <= playing
    assert not {"replay", "sb3"} & playing
