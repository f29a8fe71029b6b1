"""Rollouts: each row's sample is its own, and its distribution is the model's."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch import Tensor
from transformers import GenerationConfig

from atesd.errors import UserError
from atesd.training.adapter import LoraConfig
from atesd.training.hf_rollout import KeyedSampling
from atesd.training.language_model import LanguageModel
from atesd.training.rollout import HfRolloutConfig, RolloutConfig, SampleKey

PROMPTS = [[19, 4, 5, 18], [19, 6], [19, 7, 8, 9, 10, 11, 18], [3], [19, 14, 18]]


def keys(count: int, update: int = 0) -> list[SampleKey]:
    return [(0, update, 1000 + row, 0) for row in range(count)]


def next_logits(language: LanguageModel, ids: list[int]) -> Tensor:
    with torch.no_grad():
        logits: Tensor = language.model(input_ids=torch.tensor([ids])).logits[0, -1]
    return logits.double()


def first_tokens(language: LanguageModel, config: RolloutConfig, prompt: list[int], count: int) -> Tensor:
    """Count the first tokens of many samples of one prompt."""
    rollout = HfRolloutConfig(**(vars(config) | {"max_new_tokens": 1})).build(language)
    drawn = rollout.generate([prompt] * count, keys(count))
    return torch.bincount(torch.tensor(drawn)[:, 0], minlength=language.model.config.vocab_size)


def fit(counts: Tensor, expected: Tensor) -> float:
    """Return the chi-square test's p-value, entries expected less than 5 times merged into one."""
    total = counts.sum()
    common = expected * total >= 5
    observed = [*counts[common].tolist(), float(counts[~common].sum())]
    wanted = [*(expected[common] * total).tolist(), float(expected[~common].sum() * total)]
    if wanted[-1] == 0:
        assert observed.pop() == 0
        wanted.pop()
    return float(stats.chisquare(observed, wanted).pvalue)


def test_a_sample_does_not_depend_on_its_batch_or_its_place(language: LanguageModel) -> None:
    rollout = HfRolloutConfig(max_new_tokens=24).build(language)
    together = rollout.generate(PROMPTS, keys(5))
    assert len(set(map(tuple, together))) == 5
    assert rollout.generate(PROMPTS[::-1], keys(5)[::-1])[::-1] == together
    for prompt, key, completion in zip(PROMPTS, keys(5), together, strict=True):
        assert rollout.generate([prompt], [key]) == [completion]


@pytest.mark.parametrize("entry", range(4))
def test_every_entry_of_a_key_changes_the_sample(entry: int, language: LanguageModel) -> None:
    rollout = HfRolloutConfig(max_new_tokens=16).build(language)
    key = [5, 6, 7, 8]
    other = [number + (place == entry) for place, number in enumerate(key)]
    pair = [(5, 6, 7, 8), (other[0], other[1], other[2], other[3])]
    first, second = rollout.generate([PROMPTS[0]] * 2, pair)
    assert first != second
    assert rollout.generate([PROMPTS[0]] * 2, [pair[0]] * 2) == [first, first]


def test_sampling_leaves_the_global_generators_alone(language: LanguageModel) -> None:
    rollout = HfRolloutConfig(max_new_tokens=8).build(language)
    before = torch.random.get_rng_state()
    first = rollout.generate(PROMPTS, keys(5))
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(123)
    assert rollout.generate(PROMPTS, keys(5)) == first


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_first_tokens_have_the_models_probabilities(temperature: float, language: LanguageModel) -> None:
    counts = first_tokens(language, HfRolloutConfig(temperature=temperature), PROMPTS[0], 4000)
    logits = next_logits(language, PROMPTS[0])
    assert fit(counts, (logits / temperature).softmax(0)) > 0.01
    assert fit(counts, (logits / (temperature * 2)).softmax(0)) < 1e-4  # the test can tell


def test_second_tokens_have_the_models_probabilities_given_the_first(language: LanguageModel) -> None:
    rollout = HfRolloutConfig(max_new_tokens=2).build(language)
    drawn = rollout.generate([PROMPTS[0]] * 4000, keys(4000))
    first = max(range(2, 22), key=[row[0] for row in drawn].count)
    seconds = torch.tensor([row[1] for row in drawn if row[0] == first])
    assert len(seconds) > 300
    expected = next_logits(language, [*PROMPTS[0], first]).softmax(0)
    assert fit(torch.bincount(seconds, minlength=len(expected)), expected) > 0.01


def test_top_k_keeps_the_k_most_likely(language: LanguageModel) -> None:
    counts = first_tokens(language, HfRolloutConfig(top_k=3), PROMPTS[0], 1500)
    probabilities = next_logits(language, PROMPTS[0]).softmax(0)
    kept = probabilities >= probabilities.topk(3).values[-1]
    assert int(counts[~kept].sum()) == 0
    assert fit(counts, torch.where(kept, probabilities, 0.0) / probabilities[kept].sum()) > 0.01


def test_top_p_keeps_the_smallest_set_that_reaches_p(language: LanguageModel) -> None:
    probabilities = next_logits(language, PROMPTS[0]).softmax(0)
    order = probabilities.argsort(descending=True)
    reached = probabilities[order].cumsum(0)
    top_p = float(reached[2] + reached[3]) / 2  # three are not enough, four are
    kept = torch.zeros_like(probabilities, dtype=torch.bool).index_fill(0, order[:4], True)
    counts = first_tokens(language, HfRolloutConfig(top_p=top_p), PROMPTS[0], 1500)
    assert int(counts[~kept].sum()) == 0
    assert fit(counts, torch.where(kept, probabilities, 0.0) / probabilities[kept].sum()) > 0.01


def test_greedy_is_the_argmax_loop_and_stops_at_the_end_token(language: LanguageModel) -> None:
    steps = 20
    rollout = HfRolloutConfig(max_new_tokens=steps, temperature=3.0, top_k=2).build(language)
    found = rollout.generate(PROMPTS, None)
    for prompt, completion in zip(PROMPTS, found, strict=True):
        expected: list[int] = []
        while len(expected) < steps and language.eos_id not in expected:
            expected.append(int(next_logits(language, prompt + expected).argmax()))
        assert completion == expected


def test_padding_that_looks_like_the_end_token_hides_nothing(language: LanguageModel) -> None:
    language.tokenizer.pad_token = language.tokenizer.eos_token
    rollout = HfRolloutConfig(max_new_tokens=12).build(language)
    together = rollout.generate(PROMPTS, None)
    assert together == [rollout.generate([prompt], None)[0] for prompt in PROMPTS]


def test_a_sample_ends_with_the_end_token_or_at_its_limit(language: LanguageModel) -> None:
    rollout = HfRolloutConfig(max_new_tokens=12).build(language)
    drawn = rollout.generate([PROMPTS[0]] * 200, keys(200))
    ended = [row for row in drawn if row[-1] == language.eos_id]
    cut = [row for row in drawn if row[-1] != language.eos_id]
    assert ended
    assert cut
    assert all(row.count(language.eos_id) == 1 and len(row) <= 12 for row in ended)
    assert all(language.eos_id not in row and len(row) == 12 for row in cut)


def test_rollouts_follow_the_weights(language: LanguageModel) -> None:
    rollout = HfRolloutConfig(max_new_tokens=8).build(language)
    before = rollout.generate(PROMPTS, None)
    with torch.no_grad():
        language.model.get_input_embeddings().weight.copy_(language.model.get_input_embeddings().weight.flip(0))
    assert rollout.generate(PROMPTS, None) != before


def test_an_entry_without_probability_is_never_drawn() -> None:
    sampling = KeyedSampling(keys(3), prompt_length=1, steps=1)
    sampling.uniforms_BT = torch.tensor([[0.0], [0.5], [1.0]], dtype=torch.float64)
    scores = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, 0.0]] * 2 + [[0.0, -1.0, -1.0, -1.0, 0.0]])
    drawn = sampling(torch.zeros(3, 1, dtype=torch.long), scores).argmax(-1)
    assert drawn.tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, r"rollout\.temperature must be above 0, got 0\.0"),
        ({"temperature": math.nan}, r"rollout\.temperature must be above 0, got nan"),
        ({"top_p": 0.0}, r"rollout\.top_p must lie in \(0, 1\], got 0\.0"),
        ({"top_p": 1.1}, r"rollout\.top_p must lie in \(0, 1\], got 1\.1"),
        ({"top_k": -1}, r"rollout\.top_k must be 0 \(keep all\) or more, got -1"),
        ({"max_new_tokens": 0}, r"rollout\.max_new_tokens must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        HfRolloutConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("adapted", [False, True])
def test_a_folders_generation_settings_shape_nothing_and_are_kept(adapted: bool, language: LanguageModel) -> None:
    if adapted:
        language = replace(language, model=LoraConfig(name="small", rank=2, alpha=2).adapt(language.model, 0).eval())
    rollout = HfRolloutConfig(max_new_tokens=24).build(language)
    own = GenerationConfig(repetition_penalty=1.5, min_new_tokens=20, suppress_tokens=[4, 5], num_beams=2)
    expected = rollout.generate(PROMPTS, None), rollout.generate(PROMPTS, keys(5))
    owner = language.model.get_base_model() if adapted else language.model
    owner.generation_config = own
    assert (rollout.generate(PROMPTS, None), rollout.generate(PROMPTS, keys(5))) == expected
    assert owner.generation_config is own
