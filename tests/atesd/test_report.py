"""The report page: what it holds, what it refuses, and that a real browser shows it without an error."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from atesd.config import EvalConfig, RunConfig
from atesd.errors import UserError
from atesd.report import write_run
from atesd.run import play
from controllers.beta_reinforce import BetaReinforceConfig

Record = Callable[[int], Path]


@pytest.fixture
def record(settings: Callable[..., RunConfig], tmp_path: Path) -> Record:
    """Return a function that makes a small real run of the paper's controller with some rollouts, and its folder."""

    def make(rollouts: int) -> Path:
        run = settings(
            output_dir=str(tmp_path / f"run_{rollouts}"),
            controller=BetaReinforceConfig(name="beta_reinforce"),
            eval=EvalConfig(every=2, problems=4, final_problems=4, rollouts=rollouts),
            tracker=None,
        )
        play(run, OmegaConf.to_yaml(OmegaConf.structured(run), resolve=True))
        return Path(run.output_dir)

    return make


@pytest.fixture
def recorded(record: Record) -> Path:
    """Return the folder of such a run, with 2 rollouts per evaluation."""
    return record(2)


def test_the_page_of_a_run_holds_every_panel_and_loads_nothing(recorded: Path) -> None:
    write_run(recorded, recorded / "report.html")
    page = (recorded / "report.html").read_text()
    for title in (
        "Accuracy over updates",
        "Exposure",
        "Top-1 disagreement against exposure",
        "Accuracy by difficulty",
        "Reward parts per decision",
        "Token-level KL",
        "Phase timings",
        "Settings",
    ):
        assert f">{title}</h2>" in page
    assert not re.search(r"<(script|img|link|iframe)[^>]*(src|href)=\"?(?!data:)[^\"]", page)


def test_recorded_rollouts_score_every_token_at_three_exposures(recorded: Path) -> None:
    rows = [json.loads(line) for line in (recorded / "rollouts.jsonl").read_text().splitlines()]
    assert [row["update"] for row in rows] == [0, 0, 2, 2, 4, 4]
    for row in rows:
        teachers = row["teacher"]
        assert (teachers[0]["exposure"], teachers[-1]["exposure"]) == (0.0, 1.0)
        for teacher in teachers:
            assert len(teacher["kl_nats"]) == len(teacher["top"]) == len(row["tokens"])
            shares = [share for _, share in teacher["top"][0]]
            assert shares == sorted(shares, reverse=True)
            assert sum(shares) <= 1.0001


def test_rollouts_change_no_number_of_a_run(recorded: Path, record: Record) -> None:
    without = record(0)
    assert untimed(without) == untimed(recorded)
    assert not (without / "rollouts.jsonl").exists()


def untimed(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows]


def test_a_damaged_run_is_refused_and_an_unfinished_one_is_marked(recorded: Path) -> None:
    summary = recorded / "summary.json"
    summary.write_text(json.dumps({"complete": False}))
    write_run(recorded, recorded / "report.html")
    assert "not complete" in (recorded / "report.html").read_text()
    metrics = recorded / "metrics.jsonl"
    metrics.write_text(metrics.read_text()[:-20])
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        write_run(recorded, recorded / "report.html")
    summary.unlink()
    with pytest.raises(UserError, match=r"summary\.json is missing"):
        write_run(recorded, recorded / "report.html")


@pytest.fixture
def browser() -> Iterator[Any]:
    """Return headless Chromium."""
    selenium = pytest.importorskip("selenium.webdriver", reason="needs the extra browser")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs chromium and chromedriver")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,2000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.mark.browser
def test_a_browser_shows_the_page_and_its_controls_work(recorded: Path, browser: Any) -> None:
    write_run(recorded, recorded / "report.html")
    browser.get(f"file://{recorded / 'report.html'}")
    drawn = browser.execute_script("return document.querySelectorAll('.js-plotly-plot .main-svg').length")
    assert drawn >= 8
    choices = browser.find_elements("css selector", "select")
    assert choices
    for choice in choices:
        options = choice.find_elements("css selector", "option")
        before = browser.execute_script("return document.body.innerText + document.body.innerHTML.length")
        options[-1].click()
        after = browser.execute_script("return document.body.innerText + document.body.innerHTML.length")
        assert len(options) == 1 or before != after
    assert [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []
