"""The report page: it says what the logs say, refuses damaged runs, and works in a browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import atesd.run
from atesd.config import EvalConfig, RunConfig, TrainConfig
from atesd.errors import UserError
from atesd.models import SurrogateConfig
from atesd.recorded_run import read
from atesd.registry import config_of
from atesd.report import __main__ as report
from atesd.report import comparison as report_comparison
from atesd.report import panels as report_panels
from atesd.report.page import Page, Panel, Table, evened

ROLLOUT = {
    "update": 24,
    "problem": "01+02",
    "difficulty": 1,
    "question": "01+02",
    "reference": "01+02=03;#03",
    "completion": "03",
    "correct": True,
    "tokens": ["0", "</script>", "<eos>"],
    "student": [[["0", 0.9], ["1", 0.1]], [["3", 0.8], ["4", 0.2]], [["<eos>", 1.0], ["0", 0.0]]],
    "teacher": [
        {
            "exposure": exposure,
            "realised": exposure,
            "kl_nats": [0.0, kl, 0.1],
            "top": [[["0", 0.9], ["1", 0.1]], [["4", 0.7], ["3", 0.3]], [["<eos>", 1.0], ["0", 0.0]]],
        }
        for exposure, kl in ((0.0, 0.5), (0.25, 1.0), (1.0, 2.0))
    ],
}


def play(folder: Path, name: str, seed: int = 0) -> Path:
    """Play 24 updates of a closed-form student and return the run's folder, with a recorded rollout added."""
    run = RunConfig(
        seed=seed,
        output_dir=str(folder / name / str(seed)),
        model=SurrogateConfig(name="surrogate", family="rising"),
        data=config_of("data", "arithmetic")(name="arithmetic"),
        controller=config_of("controller", name)(name=name),
        rollout=config_of("rollout", "hf")(name="hf"),
        deepspeed=config_of("deepspeed", "zero0")(name="zero0"),
        train=TrainConfig(updates=24),
        eval=EvalConfig(every=8, problems=100, final_problems=200),
    )
    atesd.run.play(run, OmegaConf.to_yaml(OmegaConf.structured(run)))
    (Path(run.output_dir) / "rollouts.jsonl").write_text(json.dumps(ROLLOUT) + "\n")
    return Path(run.output_dir)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: [play(folder, name, seed) for seed in (0, 1)] for name in ("beta_reinforce", "uniform")}


@pytest.fixture
def run(runs: dict[str, list[Path]], tmp_path: Path) -> Path:
    """Return a copy of a run that a test may damage."""
    return Path(shutil.copytree(runs["beta_reinforce"][0], tmp_path / "run"))


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'id="page-data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def compare(runs: dict[str, list[Path]], path: Path, *tables: Table) -> None:
    report_comparison.page({name: [read(run) for run in found] for name, found in runs.items()}, tables).write(path)


def titles(found: list[Panel]) -> list[str]:
    return [panel.title for panel in found]


def test_the_page_shows_the_logs(run: Path) -> None:
    report.write_run(run, run / "report.html")
    text, data = (run / "report.html").read_text(), data_of(run / "report.html")
    summary = json.loads((run / "summary.json").read_text())
    assert f"{summary['accuracy/after']:.3f}" in text
    assert "python" in text
    assert "hold_window: 4" in text
    evaluations = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    line = data["figures"]["figure-0"]["data"][1]
    assert (line["x"], line["y"]) == ([0, 8, 16, 24], [row["mean"] for row in evaluations])
    assert data["rollouts"] == [ROLLOUT]


def test_the_density_has_a_column_per_window_and_integrates_to_one(run: Path) -> None:
    drawn = report_panels.density([read(run)], group=0)
    assert drawn["x"] == [0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5]
    columns = list(zip(*drawn["z"], strict=True))
    assert len(columns) == 6
    assert [sum(column) / len(column) for column in columns] == pytest.approx([1] * 6, abs=2e-3)


def test_what_a_run_lacks_is_left_out_and_said(runs: dict[str, list[Path]], run: Path) -> None:
    found, left_out = report_panels.panels(read(runs["uniform"][0]))
    assert "uniform logs no Beta parameters" in left_out[0]
    assert "Token-level KL" in titles(found)
    (run / "rollouts.jsonl").unlink()
    found, left_out = report_panels.panels(read(run))
    assert "Token-level KL" not in titles(found)
    assert [reason for reason in left_out if reason.startswith("Token-level KL: the run recorded no rollouts")]


def test_each_group_has_its_own_axes(run: Path) -> None:
    """What a run with ``env.groups=2`` logs: decisions with a group, and metrics per group."""
    rows = [json.loads(line) for line in (run / "decisions.jsonl").read_text().splitlines()]
    (run / "decisions.jsonl").write_text("".join(json.dumps(r | {"group": g}) + "\n" for r in rows for g in (0, 1)))
    keys = ("exposure/asked", "exposure/realised")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [row | {f"group_{g}/{key}": row[key] * g for g in (0, 1) for key in keys} for row in rows]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    drawn = report_panels.exposure(read(run)).figure
    assert [trace["type"] for trace in drawn.data] == ["heatmap", "scatter", "scatter"] * 2
    assert drawn.layout["yaxis2"]["title"]["text"] == "exposure, group 1"
    assert set(drawn.data[1]["y"]) == {0.0}


def test_a_run_that_still_goes_is_marked(run: Path) -> None:
    (run / "summary.json").write_text('{"complete": false}')
    rows = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(rows[:11]))
    rows = (run / "evaluations.jsonl").read_text().splitlines(keepends=True)
    (run / "evaluations.jsonl").write_text("".join(rows[:2]))
    report.write_run(run, run / "report.html")
    text = (run / "report.html").read_text()
    assert '<span class="status warned">not complete: still going, or stopped</span>' in text
    assert "11 of 24 student updates" in text


@pytest.mark.parametrize(
    ("log", "damage", "message"),
    [
        ("metrics.jsonl", lambda text: text[:-9], r"metrics\.jsonl is cut off: row 24 has no end"),
        ("metrics.jsonl", lambda text: text.replace("{", "", 1), r"metrics\.jsonl is damaged in row 1"),
        ("metrics.jsonl", lambda text: text.partition("\n")[2], "skips or repeats a student update"),
        ("metrics.jsonl", lambda text: text[: text[:-1].rindex("\n") + 1], "ends at 23, though summary.json says"),
        ("decisions.jsonl", lambda text: text.partition("\n")[2], "does not hold 6 decisions but ends at 5"),
        ("evaluations.jsonl", lambda text: text.partition("\n")[0] + "\n", "does not hold the evaluation after update"),
        ("evaluations.jsonl", lambda text: "", "has not evaluated its base model yet"),
        ("summary.json", lambda text: text[:50], r"summary\.json is damaged"),
    ],
)
def test_damage_is_refused(log: str, damage: Callable[[str], str], message: str, run: Path) -> None:
    (run / log).write_text(damage((run / log).read_text()))
    with pytest.raises(UserError, match=message):
        report.write_run(run, run / "report.html")
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("file", ["summary.json", "config.yaml"])
def test_a_missing_file_is_refused(file: str, run: Path) -> None:
    (run / file).unlink()
    with pytest.raises(UserError, match=re.escape(file)):
        read(run)


def test_a_comparison_shows_means_and_bands_over_seeds(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    table = Table("Contrasts", "Paired by seed.", ("contrast", "p"), [("a <b> c", "0.5")])
    compare(runs, tmp_path / "compared.html", table)
    text, data = (tmp_path / "compared.html").read_text(), data_of(tmp_path / "compared.html")
    assert "a &lt;b&gt; c" in text
    accuracy = next(f for f in data["figures"].values() if f["layout"]["yaxis"]["title"]["text"] == "accuracy")["data"]
    assert [trace["legendgroup"] for trace in accuracy] == ["beta_reinforce"] * 2 + ["uniform"] * 2
    ends = [json.loads((run / "summary.json").read_text())["accuracy/after"] for run in runs["uniform"]]
    assert accuracy[3]["y"][-1] == pytest.approx(sum(ends) / 2, abs=1e-6)
    # the 0.975 quantile of t with 1 degree of freedom is 12.706; the sd of two values is their distance over sqrt(2)
    half = 12.7062 * abs(ends[0] - ends[1]) / 2
    assert accuracy[2]["y"][3] == pytest.approx(sum(ends) / 2 + half, abs=1e-4)


def test_no_panel_stands_alone_in_its_row() -> None:
    half, wide = Panel("", ""), Panel("", "", wide=True)
    assert [panel.wide for panel in evened([half, half, half, wide, half])] == [False, False, True, True, True]


def test_the_page_replaces_an_old_one_whole_and_names_no_address(run: Path) -> None:
    report.write_run(run, run / "report.html")
    report.write_run(run, run / "report.html")
    assert not list(run.glob("*.new"))
    outside = re.sub(r"<script>.*?</script>", "", (run / "report.html").read_text(), flags=re.DOTALL)
    assert not re.search(r"https?://|src=", outside)


def test_the_command_line(run: Path, runs: dict[str, list[Path]], python: Callable[..., Any]) -> None:
    done = python("-m", "atesd.report", str(run))
    assert (done.returncode, done.stdout) == (0, f"written to {run / 'report.html'}\n")
    done = python("-m", "atesd.report", str(run), str(runs["uniform"][0]))
    assert done.returncode == 1
    assert done.stderr.startswith("error: usage: python -m atesd.report RUN")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return headless Chromium; skip where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs the extra browser")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


def count(browser: Any, selector: str) -> int:
    return int(browser.execute_script("return document.querySelectorAll(arguments[0]).length", selector))


def choose(browser: Any, selector: str, value: str) -> None:
    browser.execute_script(
        "const s = document.querySelector(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'))",
        selector,
        value,
    )


def shown(browser: Any, figure: str) -> list[str]:
    """Return the choice that each visible trace of a figure belongs to."""
    script = "return document.getElementById(arguments[0]).data.filter(t => t.visible).map(t => t.meta.choice)"
    found: list[str] = browser.execute_script(script, figure)
    return found


def test_a_difficulty_that_no_problem_had_midway_is_drawn_where_it_was_asked(run: Path) -> None:
    path = run / "evaluations.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rare = sorted(rows[-1]["by_difficulty"])[-1]
    rows[1]["by_difficulty"].pop(rare)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [trace for trace in report_panels.difficulty_curves(read(run)).figure.data if trace.get("name") == rare]
    assert {len(trace["x"]) for trace in lines if trace["mode"] == "lines+markers"} == {len(rows) - 1}


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_of_a_run_works_in_a_browser(browser: Any, run: Path) -> None:
    from selenium.webdriver.common.by import By

    report.write_run(run, run / "report.html")
    browser.get((run / "report.html").as_uri())
    assert count(browser, ".figure .main-svg") >= 2 * count(browser, ".figure") >= 16
    select = browser.find_element(By.CSS_SELECTOR, "select[data-figure]")
    figure = select.get_attribute("data-figure")
    assert shown(browser, figure) == ["loss/optimised"]
    choose(browser, "select[data-figure]", "probe/nll_nats_per_token")
    assert shown(browser, figure) == ["probe/nll_nats_per_token"]

    card = browser.find_element(By.CSS_SELECTOR, ".token-card")
    assert card.text.startswith("Token 2 of 3: </script>")  # the highest KL; and text is text
    assert "teacher at 0.25\nKL 1.000 nats" in card.text
    assert count(browser, ".lane .token") == 9
    assert count(browser, ".lane .token.differs") == 3
    lanes = browser.find_element(By.CSS_SELECTOR, ".lanes")
    lanes.send_keys("\ue012")  # the left arrow
    assert card.text.startswith("Token 1 of 3: 0")
    browser.execute_script(
        "document.querySelectorAll('.lane .token')[2].dispatchEvent(new PointerEvent('pointerenter'))"
    )
    assert card.text.startswith("Token 3 of 3: <eos>")
    assert browser.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_of_a_comparison_works_in_a_browser(browser: Any, runs: dict[str, list[Path]], tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    compare(runs, tmp_path / "compared.html")
    browser.get((tmp_path / "compared.html").as_uri())
    seen = "return document.getElementById('figure-1').data.filter(t => t.visible !== false).map(t => t.legendgroup)"
    assert set(browser.execute_script(seen)) == {"beta_reinforce", "uniform"}
    button = browser.find_element(By.CSS_SELECTOR, "button[data-method=uniform]")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert set(browser.execute_script(seen)) == {"beta_reinforce"}
    button.click()
    assert set(browser.execute_script(seen)) == {"beta_reinforce", "uniform"}
    for width in (1280, 420):
        browser.set_window_size(width, 900)
        fits = f"return innerWidth === {width} && document.documentElement.scrollWidth <= innerWidth"
        # figures follow a window's new size a moment later
        WebDriverWait(browser, 20).until(lambda b, fits=fits: b.execute_script(fits), f"{width} px")
    assert browser.get_log("browser") == []


@pytest.mark.browser
def test_the_check_on_errors_can_fail(browser: Any, tmp_path: Path) -> None:
    body = '<img src="http://127.0.0.1:9/x.png" alt="">'
    Page("", "", "", False, [], [Panel("", "", body=body)]).write(tmp_path / "bad.html")
    browser.get((tmp_path / "bad.html").as_uri())
    assert "Content Security Policy" in browser.get_log("browser")[0]["message"]
