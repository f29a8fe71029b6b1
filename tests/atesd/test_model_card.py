"""The card of an exported model: what the hub reads of it, and that its words are the run's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from atesd import model_card
from atesd.config import RunConfig, TrainConfig
from atesd.models import HfConfig, SmolLm2Config, TinyConfig
from atesd.registry import config_of
from atesd.training.adapter import ADAPTER, OpsdLoraConfig

SETTINGS = """seed: 3
model: {name: smollm2_135m, path: HuggingFaceTB/SmolLM2-135M-Instruct, revision: 12fd25f}
data: {name: gsm8k, path: '', hub: openai/gsm8k, revision: main}
controller: {name: fixed, exposure: 0.5}
baseline: null
lora: {name: opsd, rank: 64}
train: {batch_size: 8}
"""
SUMMARY: dict[str, Any] = {
    "method": "fixed",
    "updates": 20,
    "command": "python -m atesd.run controller=fixed",
    "commit": "0123456789ab",
    "versions": {"atesd": "0.1.0"},
    "accuracy/before": 0.25,
    "accuracy/before_interval": [0.2, 0.3],
    "accuracy/before_problems": 200,
    "accuracy/after": 0.5,
    "accuracy/after_interval": [0.45, 0.55],
    "accuracy/after_problems": 200,
}


def settings(model: Any, lora: Any = None) -> RunConfig:
    parts = {group: config_of(group, name)(name=name) for group, name in (("rollout", "hf"), ("deepspeed", "zero0"))}
    return RunConfig(model=model, data=None, controller=None, lora=lora, train=TrainConfig(updates=20), **parts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder like that of a model with adapters, without its weights."""
    (tmp_path / ADAPTER).mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / ADAPTER / "adapter_config.json").write_text("{}")
    return tmp_path


def test_the_hub_reads_the_card_of_a_model_and_of_its_adapters(folder: Path) -> None:
    model_card.write(folder, settings(SmolLm2Config(), OpsdLoraConfig()), SETTINGS, SUMMARY, [0.5, 0.5])
    whole, adapter = (ModelCard.load(part / model_card.FILE) for part in (folder, folder / ADAPTER))
    assert whole.data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "base_model_relation": "finetune",
        "tags": ["atesd", "on-policy-distillation", "lora"],
    }
    assert (adapter.data.library_name, adapter.data.to_dict()["base_model_relation"]) == ("peft", "adapter")
    assert adapter.text == whole.text


def test_the_card_says_what_was_done_and_how_it_went(folder: Path) -> None:
    model_card.write(folder, settings(SmolLm2Config(), OpsdLoraConfig()), SETTINGS, SUMMARY, [0.5, 0.5])
    text = ModelCard.load(folder / model_card.FILE).text
    for line in (
        "| before training | 0.250 | [0.200, 0.300] | 200 |",
        "| after training | 0.500 | [0.450, 0.550] | 200 |",
        "| base model | `smollm2_135m`: HuggingFaceTB/SmolLM2-135M-Instruct at 12fd25f |",
        "| method | `controller=fixed controller.exposure=0.5` |",
        "| exposure of the teacher | 0.500 |",
        "| data | `gsm8k`: openai/gsm8k at main |",
        "| adapters | `lora=opsd lora.rank=64` |",
        "| seed | 3 |",
        "| student updates | 20 of 8 completions |",
        "| made by | atesd 0.1.0, commit 0123456789ab |",
        "python -m atesd.run controller=fixed",
        "train: {batch_size: 8}",
    ):
        assert f"\n{line}\n" in text
    assert 'from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct"), "FOLDER/adapter")' in text


@pytest.mark.parametrize(
    ("model", "hub"),
    [
        (TinyConfig(name="tiny"), ""),
        (HfConfig(path="."), ""),
        (HfConfig(path="some/model"), "some/model"),
        (SmolLm2Config(path="."), "HuggingFaceTB/SmolLM2-135M-Instruct"),
    ],
)
def test_only_a_base_that_the_hub_has_is_named_to_it(model: Any, hub: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    model_card.write(tmp_path, settings(model), SETTINGS, SUMMARY, [])
    card = ModelCard.load(tmp_path / model_card.FILE)
    assert card.data.to_dict().get("base_model", "") == hub
    assert card.data.tags == ["atesd", "on-policy-distillation"]


def test_where_there_is_no_model_there_is_no_card(tmp_path: Path) -> None:
    model_card.write(tmp_path, settings(TinyConfig(name="tiny")), SETTINGS, SUMMARY, [])
    assert list(tmp_path.iterdir()) == []
