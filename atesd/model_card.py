"""The card of a model that a run leaves: what the hub reads, where the model comes from, how it did, how to load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from atesd.arguments import flat
from atesd.config import RunConfig
from atesd.training.adapter import ADAPTER

FILE = "README.md"

TRANSFORMERS = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
```"""
VLLM = """```python
from vllm import LLM

model = LLM("FOLDER")
```"""
PEFT = """```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("BASE"), "FOLDER/adapter")
```"""


def write(folder: Path, run: RunConfig, settings: str, summary: Mapping[str, Any], asked: Sequence[float]) -> None:
    """Write the card of the model that ``folder`` holds, and of its adapters; where there is no model, nothing.

    Args:
        run: the checked settings.
        settings: the same as YAML.
        summary: of the finished run.
        asked: the exposure of every student update.
    """
    parts = ((folder, "config.json", "transformers"), (folder / ADAPTER, "adapter_config.json", "peft"))
    for part, proof, library in parts:
        if (part / proof).is_file():
            (part / FILE).write_text(front(run, library) + body(run, settings, summary, asked))


def front(run: RunConfig, library: str) -> str:
    """Return what the hub reads, as YAML between rules; it refuses a base that it does not have itself."""
    hub = run.model.hub_name()
    relation = "adapter" if library == "peft" else "finetune"
    read = {
        "library_name": library,
        "pipeline_tag": "text-generation",
        **({"base_model": hub, "base_model_relation": relation} if hub else {}),
        "tags": ["atesd", "on-policy-distillation", *(["lora"] if run.lora else [])],
    }
    return f"---\n{yaml.safe_dump(read, sort_keys=False)}---\n"


def body(run: RunConfig, settings: str, summary: Mapping[str, Any], asked: Sequence[float]) -> str:
    """Return the card's text."""
    whole = "The weights are whole"
    if run.lora:
        whole += f", what the adapters add being part of them; the adapters alone lie in `{ADAPTER}/`"
    base = run.model.hub_name() or str(run.model.folder())
    snippets = [TRANSFORMERS, VLLM, PEFT.replace("BASE", base)][: 3 if run.lora else 2]
    sections = [
        f"# {summary['method']} on {flat(settings)['model.name']}",
        "Greedy accuracy on held-out problems, which training never saw:",
        accuracies(summary),
        origin(flat(settings), summary, asked),
        f"## Load\n`FOLDER` is the folder of the card or its name on the hub. {whole}. Prompts have the style "
        f"`{run.model.style}` of `atesd/prompts.py`.",
        *snippets,
        f"## Repeat\n```bash\n{summary['command']}\n```\nAll settings:\n```yaml\n{settings.strip()}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def accuracies(summary: Mapping[str, Any]) -> str:
    """Return a table of the accuracy before and after training."""
    lines = ["| | accuracy | 95 % interval | problems |", "|---|---|---|---|"]
    for when in ("before", "after"):
        low, high = summary[f"accuracy/{when}_interval"]
        mean, problems = summary[f"accuracy/{when}"], summary[f"accuracy/{when}_problems"]
        lines.append(f"| {when} training | {mean:.3f} | [{low:.3f}, {high:.3f}] | {problems} |")
    return "\n".join(lines)


def origin(settings: Mapping[str, Any], summary: Mapping[str, Any], asked: Sequence[float]) -> str:
    """Return a table of what made the model, from settings by dotted key."""
    chosen = "baseline" if settings.get("baseline.name") else "controller"
    facts = {
        "base model": place(settings, "model"),
        "method": section(settings, chosen),
        "exposure of the teacher": spread(asked),
        "data": place(settings, "data"),
        "adapters": section(settings, "lora") if settings.get("lora.name") else "none: all weights are trained",
        "seed": settings["seed"],
        "student updates": f"{summary['updates']} of {settings['train.batch_size']} completions",
        "made by": f"atesd {summary['versions']['atesd']}, commit {summary['commit']}",
    }
    return "\n".join(["| made from | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in facts.items())])


def section(settings: Mapping[str, Any], group: str) -> str:
    """Return a choice with its own settings, as on the command line.

    >>> section({"controller.name": "fixed", "controller.exposure": 0.5, "seed": 0}, "controller")
    '`controller=fixed controller.exposure=0.5`'
    """
    own = [f"{key}={value}" for key, value in settings.items() if key.startswith(f"{group}.")]
    return "`" + " ".join([f"{group}={settings[f'{group}.name']}", *own[1:]]) + "`"


def place(settings: Mapping[str, Any], group: str) -> str:
    """Return where a model or data set comes from: its file or folder, else its name on the hub and its commit.

    >>> place({"data.name": "gsm8k", "data.path": "", "data.hub": "openai/gsm8k", "data.revision": "main"}, "data")
    '`gsm8k`: openai/gsm8k at main'
    >>> place({"model.name": "tiny", "model.path": ""}, "model")
    '`tiny`'
    """
    path, hub, revision = (settings.get(f"{group}.{key}") for key in ("path", "hub", "revision"))
    found = path or hub
    pinned = f" at {revision}" if found and revision and not Path(found).exists() else ""
    return f"`{settings[f'{group}.name']}`" + (f": {found}{pinned}" if found else "")


def spread(asked: Sequence[float]) -> str:
    """Return what exposures a run had.

    >>> spread([0.25, 1.0, 0.25]), spread([0.5, 0.5]), spread([])
    ('0.500 on average, from 0.250 to 1.000', '0.500', 'none: no update')
    """
    if not asked:
        return "none: no update"
    mean = f"{sum(asked) / len(asked):.3f}"
    return mean if min(asked) == max(asked) else f"{mean} on average, from {min(asked):.3f} to {max(asked):.3f}"
