"""Exposure: how a reference is cut, and how much of it is revealed."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from atesd.errors import UserError
from atesd.exposure import Cut, checked, reveal, segments
from atesd.tasks.arithmetic import Arithmetic
from atesd.tasks.collection import Collection
from atesd.tasks.problem import Problem, Split
from atesd.training.language_model import LanguageModel

PIECES = ["a;", "b;", "c;", "d;", "e;"]


@pytest.mark.parametrize(
    ("exposure", "text", "realised"),
    [
        (0.0, "", 0.0),
        (0.19, "", 0.0),
        (0.2, "a;", 0.2),
        (0.5, "a;b;", 0.4),
        (0.6, "a;b;c;", 0.6),
        (0.99, "a;b;c;d;", 0.8),
        (1.0, "a;b;c;d;e;", 1.0),
    ],
)
def test_worked_numbers(exposure: float, text: str, realised: float) -> None:
    revealed = reveal(PIECES, exposure)
    assert (revealed.text, revealed.realised) == (text, realised)


@pytest.mark.parametrize("m", range(1, 31))
def test_k_of_m_gives_exactly_k_segments_also_as_float32(m: int) -> None:
    pieces = [f"{k};" for k in range(m)]
    for k in range(m + 1):
        for exposure in (k / m, float(np.float32(k / m)), float(np.float32(k) / np.float32(m))):
            revealed = reveal(pieces, exposure)
            assert revealed.text == "".join(pieces[:k])
            assert revealed.realised == k / m


def test_the_ends_are_exact_and_their_neighbours_are_not_rounded_up() -> None:
    pieces = list("abc")
    assert (reveal(pieces, 0.0).text, reveal(pieces, 0.0).realised) == ("", 0.0)
    assert (reveal(pieces, 1.0).text, reveal(pieces, 1.0).realised) == ("abc", 1.0)
    assert reveal(pieces, 0.9999).text == "ab"
    assert reveal(pieces, 1 / 3 - 1e-4).text == ""


def test_realised_never_exceeds_asked_and_falls_short_by_less_than_a_segment() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        m, exposure = int(rng.integers(1, 40)), float(rng.random())
        realised = reveal(["x"] * m, exposure).realised
        assert exposure - 1 / m - 1e-6 < realised <= exposure + 1e-6
        assert realised == pytest.approx(math.floor(exposure * m) / m, abs=1e-6)


@pytest.mark.parametrize("exposure", [-1e-9, 1.0000001, math.nan, math.inf, -math.inf])
def test_exposure_outside_the_unit_interval_is_refused(exposure: float) -> None:
    with pytest.raises(UserError, match=r"controller\.exposure must lie in \[0, 1\], got "):
        checked(exposure, "controller.exposure")
    with pytest.raises(UserError, match=r"exposure must lie in \[0, 1\]"):
        reveal(PIECES, exposure)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One. Two! Three?", ["One. ", "Two! ", "Three?"]),
        ("One.\n\nTwo.\n", ["One.\n\n", "Two.\n"]),
        ("pi is 3.14 here", ["pi is 3.14 here"]),
        ("a\nb\nc", ["a\n", "b\n", "c"]),
    ],
)
def test_sentences(text: str, pieces: list[str]) -> None:
    problem, task = in_file(text or "x")
    assert not text or segments(problem, Cut.sentence, task, list) == pieces


def in_file(reference: str) -> tuple[Problem, Collection]:
    rows = [Problem(f"p:{row}", f"{row}", reference, "1", 1) for row in range(200)]
    return rows[0], Collection("p", rows, r"\n", seed=0, n=13)


@pytest.mark.parametrize("cut", Cut)
@pytest.mark.parametrize("reference", ["07+48=55\n55*3=65\n", "07+48=55\n55*3=65", "\n\n07\n\n48\n\n", "5", "5=5\r\n6"])
def test_segments_join_back_to_the_reference(cut: Cut, reference: str, language: LanguageModel) -> None:
    reference = reference.replace("\r", "") if cut is Cut.token else reference
    problem, task = in_file(reference)
    pieces = segments(problem, cut, task, partial(language.token_pieces, owner="problem 07+48*3-09"))
    assert "".join(pieces) == reference
    assert all(pieces)


@pytest.mark.parametrize("cut", Cut)
def test_segments_of_the_testbed_join_back(cut: Cut, arithmetic: Arithmetic, language: LanguageModel) -> None:
    for problem in arithmetic.held_out(Split.evaluation, 100):
        pieces = segments(problem, cut, arithmetic, partial(language.token_pieces, owner="problem 07+48*3-09"))
        assert "".join(pieces) == problem.reference
        if cut is Cut.step:
            assert len(pieces) == problem.difficulty
        if cut is Cut.token:
            assert pieces == list(problem.reference)


@pytest.mark.parametrize(
    ("pattern", "reference", "pieces"),
    [
        (r"\n\n", "a\nb\n\nc\n\n", ["a\nb\n\n", "c\n\n"]),
        (r"(?=Step)", "Step 1: a. Step 2: b.", ["Step 1: a. ", "Step 2: b."]),
        (r";", "a;b", ["a;", "b"]),
        (r"absent", "a;b", ["a;b"]),
    ],
)
def test_a_step_pattern_cuts_at_the_end_of_its_matches(pattern: str, reference: str, pieces: list[str]) -> None:
    rows = [Problem(f"p:{row}", f"{row}", reference, "1", 1) for row in range(200)]
    assert Collection("p", rows, pattern, seed=0, n=13).steps(reference) == pieces


@pytest.mark.parametrize("cut", Cut)
@pytest.mark.parametrize("reference", ["", "\n", "\n\n"])
def test_a_reference_without_segments_is_refused_by_name(
    cut: Cut, reference: str, problem: Problem, language: LanguageModel
) -> None:
    _, task = in_file("5")
    with pytest.raises(
        UserError, match=rf"problem 07\+48\*3-09: its reference .* no segments .*exposure\.cut={cut.value}"
    ):
        segments(
            replace(problem, reference=reference), cut, task, partial(language.token_pieces, owner="problem 07+48*3-09")
        )


def test_a_reference_the_tokenizer_cannot_cut_is_refused_by_name(problem: Problem, language: LanguageModel) -> None:
    _, task = in_file("5")
    with pytest.raises(UserError, match=r"07\+48\*3-09.*é"):
        segments(
            replace(problem, reference="5é"),
            Cut.token,
            task,
            partial(language.token_pieces, owner="problem 07+48*3-09"),
        )
