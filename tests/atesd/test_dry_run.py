"""Dry runs: every published model, and the count against what a small model really took."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

import atesd.run  # noqa: F401 (registers every choice)
from atesd import dry_run
from atesd.config import RunConfig
from atesd.errors import UserError
from atesd.models import PublishedConfig
from atesd.registry import config_of, names
from atesd.training import memory

PUBLISHED = [name for name in names("model") if issubclass(config_of("model", name), PublishedConfig)]
# Weights of the released models, as their files count them.
WEIGHTS = {
    "smollm2_135m": 134_515_008,
    "qwen3_0_6b": 596_049_920,
    "qwen3_1_7b": 1_720_574_976,
    "qwen3_4b": 4_022_468_096,
    "qwen3_8b": 8_190_735_360,
}
GSM8K = [
    {"question": f"Ann has {n} apples and buys 3.", "answer": f"She has {n}+3=<<{n}+3={n + 3}>>.\n#### {n + 3}"}
    for n in range(10, 400)
]
QWEN = next((p for p in Path(__file__).parents if (p / "shared/data/qwen3-tokenizer").is_dir()), None)


def settings(*overrides: str) -> RunConfig:
    with initialize_config_module("configs", version_base="1.3"):
        run = OmegaConf.to_object(compose("config", [*overrides, "output_dir=unused"]))
    assert isinstance(run, RunConfig)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_model_builds_without_weights_under_opsds_settings(name: str) -> None:
    run = settings("preset=opsd_v3", f"model={name}")
    rows = dry_run.plan(run)
    assert memory.shape(run).frozen == WEIGHTS[name]
    assert [row["devices"] for row in rows] == [1, 2, 4, 8, 16]
    totals = [row["total"] for row in rows]
    assert totals == sorted(totals, reverse=True)
    assert run.signal.clip == {"smollm2_135m": float("inf"), "qwen3_8b": 0.06}.get(name, 0.05)
    assert run.lora.name == "opsd"
    assert run.rollout.max_new_tokens == 1024


@pytest.mark.parametrize("devices", [1, 4])
def test_trained_weights_are_counted_as_deepspeed_does(devices: int) -> None:
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs as of_stage_3
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs as of_stage_2

    run = settings("preset=opsd_v3", "model=smollm2_135m", "lora=none", "teacher.kind=live")
    model = memory.shape(run)
    weights = model.trained
    _, stage_2 = of_stage_2(weights, devices, 1, cpu_offload=False)
    assert memory.states(run, model, devices) == pytest.approx(stage_2, abs=2)
    sharded = settings("preset=opsd_v3", "model=smollm2_135m", "lora=none", "teacher.kind=live", "deepspeed=zero3")
    _, stage_3, _ = of_stage_3(weights, model.largest, devices, 1, cpu_offload=False, cpu_offload_params=False)
    assert memory.states(sharded, model, devices) == pytest.approx(stage_3 + 2 * weights, abs=2)


@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_every_teacher_with_weights_of_its_own_is_counted(stage: str) -> None:
    model, states = None, {}
    for kind in ("live", "frozen", "ema"):
        run = settings(
            "preset=opsd_v3", "model=smollm2_135m", "lora=none", f"deepspeed={stage}", f"teacher.kind={kind}"
        )
        model = model or memory.shape(run)
        states[kind] = memory.states(run, model, 4)
    assert model is not None
    assert states["frozen"] - states["live"] == 2 * model.trained  # bf16
    assert states["ema"] - states["live"] == (2 + 4) * model.trained  # and an average in fp32


def test_a_model_too_large_says_what_it_needs_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    run = settings("preset=opsd_v3", "model=qwen3_8b")
    monkeypatch.setattr(memory, "available", lambda: 4 * memory.GIB)
    with pytest.raises(UserError, match=r"Qwen/Qwen3-8B needs at least 16\.\d GiB on each of 4 devices .* 4\.0 GiB"):
        memory.refuse_too_large(run, 4)


def test_prompts_of_a_local_folder_are_rendered(tmp_path: Path) -> None:
    assert dry_run.plan(settings("model=tiny"))[0]["total"] < 0.5
    with pytest.raises(UserError, match="model=surrogate has no weights"):
        dry_run.plan(settings("model=surrogate"))


@pytest.mark.skipif(QWEN is None, reason="needs Qwen3's tokenizer")
def test_prompts_and_masks_of_real_qwen3_tokens(tmp_path: Path) -> None:
    assert QWEN is not None
    for file in (QWEN / "shared/data/qwen3-tokenizer").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    architecture = PublishedConfig(name="qwen3_8b").architecture()
    (tmp_path / "config.json").write_bytes(architecture.read_bytes())
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, GSM8K)))
    data = [f"model.path={tmp_path}", "data=gsm8k", f"data.path={tmp_path / 'train.jsonl'}"]
    run = settings("preset=opsd_v3", "model=qwen3_8b", *data)
    lengths = dry_run._lengths(run)
    assert 30 < lengths.student < lengths.teacher < 400


@pytest.mark.slow
def test_the_count_is_within_a_factor_of_2_of_what_a_small_model_takes(
    python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """On a machine without an accelerator: the growth of the process, which also holds what nobody counted."""
    small = json.loads(PublishedConfig(name="smollm2_135m").architecture().read_text())
    small |= {"num_hidden_layers": 4, "hidden_size": 192, "intermediate_size": 512, "vocab_size": 16384}
    small |= {"num_attention_heads": 3}
    (tmp_path / "config.json").write_text(json.dumps(small))
    finished = python(
        "-c",
        """
import json, re, torch
from pathlib import Path
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from transformers import AutoConfig, AutoModelForCausalLM
import atesd.run
from atesd.losses import token_divergence
from atesd.training import memory
with initialize_config_module("configs", version_base="1.3"):
    run = OmegaConf.to_object(compose("config", ["model=folder", "model.path=.", "output_dir=x"]))
torch.set_num_threads(1)
counted = memory.saved_for_gradient(run, memory.shape(run), 4, memory.Lengths(64, 64, 192))
model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained("."))
ids = torch.zeros((4, 256), dtype=torch.long)
model(input_ids=ids[:, :2])
def resident(what):
    return int(re.search(what + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
Path("/proc/self/clear_refs").write_text("5")  # the peak so far may be that of the process this one was forked from
before = resident("VmRSS")
logits = model(input_ids=ids, use_cache=False, logits_to_keep=192).logits
loss = token_divergence(logits, torch.zeros_like(logits)).sum()
after = resident("VmHWM")
print(json.dumps([counted, (after - before) * 1024]))
""",
    )
    counted, measured = json.loads(finished.stdout.splitlines()[-1])
    assert 0.5 < counted / measured < 2, finished.stdout
    print(f"counted / measured: {counted / measured:.2f} of {measured / 2**20:.0f} MiB")
