"""Our losses and gradients against TRL 1.16.0: the same weights, the same completions fed in, fp32.

``pip install -e ".[test,parity]" && pytest -m parity``. Where the two differ it is by convention:

- SDFT averages over a completion's tokens, then over completions. Ours is one mean over all tokens, as in OPSD's code,
  so a long completion counts for more; TRL logs that mean too. ``SignalBatch.weights_BT`` holds the difference.
- GRPO: ours is ``loss_type="grpo"``, where completions weigh equally; TRL's default ``"dapo"``, one mean over tokens,
  is our ``baseline=dapo``. Both divide by the unbiased standard deviation plus 1e-4.
- TRL names a divergence by one number, the teacher's share in the mixture, with the two KLs put at its ends: 0 is
  KL(teacher || student), 1 is KL(student || teacher). The JSD itself tends to 0 there, so ours are three names and a
  share.
- TRL's temperature divides both logits in SDFT's loss and is also the sampler's; ours are ``signal.temperature`` and
  ``rollout.temperature``, so that the two can differ. GRPO's loss has no temperature in either where it is 1.
- TRL gives left-padded prompts no position ids. With rotary positions only rounding differs.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from atesd.distillation import Distillation, SignalConfig
from atesd.divergence import Divergence
from atesd.exposure import Cut
from atesd.losses import token_divergence
from atesd.models import TinyConfig
from atesd.signals import Signal, SignalBatch
from atesd.training.collector import Collector
from atesd.training.language_model import LanguageModel
from atesd.training.sequences import completion_logits
from baselines.dapo import DapoConfig, DynamicSampling
from baselines.grpo import GroupRelative

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(find_spec("trl") is None, reason="needs TRL 1.16.0: pip install -e '.[parity]'"),
]
os.environ["HF_HUB_OFFLINE"] = "1"

TOLERANCE = 1e-5
ROWS, GROUP = 12, 4
# One number of TRL's, and what it is called here.
DIVERGENCES = [
    (0.0, Divergence.forward_kl, 0.5),
    (1.0, Divergence.reverse_kl, 0.5),
    (0.5, Divergence.jsd, 0.5),
    (0.1, Divergence.jsd, 0.1),
    (0.9, Divergence.jsd, 0.9),
]
Context = Callable[..., Collector]


def apart(ours: Tensor, theirs: Tensor) -> float:
    """Return the relative difference."""
    return float((ours.detach() - theirs.detach()).norm() / theirs.detach().norm())


def gradient(loss: Tensor, model: torch.nn.Module) -> Tensor:
    """Return the gradient of every weight in one row."""
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(model.parameters()))])


def our_loss(signal: Signal, student: LanguageModel, batch: SignalBatch, weights_BT: Tensor) -> Tensor:
    losses_BT, _ = signal.token_losses(completion_logits(student.model, batch.sequences), batch)
    return (losses_BT * weights_BT).sum() / weights_BT.sum()


def inputs(batch: SignalBatch) -> dict[str, Tensor]:
    """Return a batch's prompts and completions as TRL calls them."""
    sequences, length = batch.sequences, batch.sequences.prompt_length
    return {
        "prompt_ids": sequences.ids[:, :length],
        "prompt_mask": sequences.mask[:, :length],
        "completion_ids": sequences.completion_ids_BT,
        "completion_mask": sequences.completion_mask_BT,
    }


def arguments(folder: Path, rows: int) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": rows,
        "max_completion_length": 64,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
        "disable_tqdm": True,
    }


@pytest.fixture
def moved(trained: LanguageModel) -> LanguageModel:
    """Return the base student after a small step, so that it differs from its teacher."""
    student = copy.deepcopy(trained)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in student.model.parameters():
            weight.add_(0.1 * weight.std().nan_to_num(0.0) * torch.randn(weight.shape, generator=generator))
    return student


@pytest.mark.parametrize("temperature", [1.0, 1.1])
@pytest.mark.parametrize(("number", "divergence", "share"), DIVERGENCES)
def test_divergences_equal_the_dense_and_the_chunked(
    number: float, divergence: Divergence, share: float, temperature: float
) -> None:
    from trl.experimental.gkd import GKDTrainer
    from trl.experimental.sdft.loss_utils import compute_divergence
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    generator = torch.Generator().manual_seed(5)
    hidden_s, hidden_t = (torch.randn(3, 7, 16, generator=generator) for _ in range(2))
    head_s, head_t = (torch.randn(50, 16, generator=generator) for _ in range(2))
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[1, 4:] = mask[2, 1:] = 0
    hidden_s.requires_grad_()
    student, teacher = hidden_s @ head_s.T, hidden_t @ head_t.T
    ours = token_divergence(student, teacher, divergence, temperature, jsd_weight=share)[mask.bool()].mean()
    log_s, log_t = ((logits / temperature).log_softmax(-1) for logits in (student, teacher))
    labels = torch.where(mask.bool(), 0, -100)
    theirs = {
        "SDFT": compute_divergence(log_s, log_t, number)[mask.bool()].mean(),
        "GKD": GKDTrainer.generalized_jsd_loss(
            student, teacher, labels, number, temperature, num_items_in_batch=int(mask.sum())
        ),
        "chunked": _chunked_divergence_loss(hidden_s, hidden_t, head_s, head_t, mask, number, temperature=temperature)[
            0
        ],
    }
    (our_gradient,) = torch.autograd.grad(ours, hidden_s, retain_graph=True)
    for name, loss in theirs.items():
        assert apart(ours, loss) < TOLERANCE, name
        (their_gradient,) = torch.autograd.grad(loss, hidden_s, retain_graph=True)
        assert apart(our_gradient, their_gradient) < TOLERANCE, name


@pytest.mark.parametrize("temperature", [1.0, 1.1])
@pytest.mark.parametrize(("number", "divergence", "share"), DIVERGENCES[:4])
def test_opsd_equals_sdft_with_full_logits(
    number: float,
    divergence: Divergence,
    share: float,
    temperature: float,
    context: Context,
    trained: LanguageModel,
    moved: LanguageModel,
    tmp_path: Path,
) -> None:
    from datasets import Dataset
    from trl.experimental.sdft import SDFTConfig, SDFTTrainer

    alone = context(trained)  # whose teacher is the base
    alone.language = moved
    alone.rollout.language = moved
    signal = Distillation(SignalConfig(divergence, temperature, jsd_weight=share), Cut.step)
    problems = context(trained).next_problems(ROWS)
    batch = signal.collect(alone, ROWS, 1.0)

    trainer = SDFTTrainer(
        model=str(TinyConfig(name="tiny").folder()),
        args=SDFTConfig(
            distillation_mode="full_logits",
            distillation_alpha=number,
            temperature=temperature,
            teacher_model_kind="base",
            teacher_prompt_template="{prompt}{privileged_context}",
            num_generations=1,
            **arguments(tmp_path, ROWS),
        ),
        train_dataset=Dataset.from_list([{"prompt": "P", "privileged_context": "R"}] * ROWS),
        processing_class=copy.deepcopy(trained.tokenizer),
    )
    trainer.model.load_state_dict(moved.model.state_dict())
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    prepared = inputs(batch)
    # In our template the solution comes before the student's turn, so the turn is part of TRL's second half.
    prepared |= trainer.teacher_context_builder.build(
        [f"P{problem.text}\n" for problem in problems],
        [f"R{problem.reference}#{problem.answer}\nS" for problem in problems],
        prepared["completion_ids"],
        prepared["completion_mask"],
    )
    theirs = trainer.compute_loss(trainer.model, prepared)

    mask_BT = batch.sequences.completion_mask_BT.float()
    ours = our_loss(signal, moved, batch, mask_BT / mask_BT.sum(1, keepdim=True))  # a mean of means, as in SDFT
    assert float(ours.detach()) > 1e-3
    assert apart(ours, theirs) < TOLERANCE
    assert apart(gradient(ours, moved.model), gradient(theirs, trainer.model)) < TOLERANCE
    token_mean = our_loss(signal, moved, batch, batch.weights_BT)  # ours; TRL logs it
    logged = trainer._metrics["train"]["self_distillation/distillation_loss"][-1]
    assert float(token_mean.detach()) == pytest.approx(logged, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("loss_type", "signal"),
    [
        ("grpo", GroupRelative(GROUP, 1.0)),
        ("dapo", DynamicSampling(DapoConfig(group_size=GROUP, draws=1, overlong_cache=0), 64, 1.0)),
    ],
)
def test_grpo_and_dapo_equal_grpo_trainer(
    loss_type: str, signal: GroupRelative, context: Context, trained: LanguageModel, tmp_path: Path
) -> None:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    batch = signal.collect(context(trained), ROWS, 1.0)
    assert batch.tensors["advantages_B1"].abs().max() > 0.5
    length = batch.sequences.prompt_length
    rows = list(zip(batch.sequences.ids.tolist(), batch.sequences.mask.tolist(), strict=True))
    prompts = [[i for i, m in zip(ids[:length], mask[:length], strict=True) if m] for ids, mask in rows]
    completions = [[i for i, m in zip(ids[length:], mask[length:], strict=True) if m] for ids, mask in rows]
    answers = {trained.decode(trained.student_prompt(p)): p for p in context(trained).next_problems(ROWS, GROUP)}

    def right(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        graded = [trained.style.is_correct(answers[p], c) for p, c in zip(prompts, completions, strict=True)]
        return [float(correct) if loss_type == "grpo" else 2.0 * correct - 1.0 for correct in graded]

    trainer = GRPOTrainer(
        model=str(TinyConfig(name="tiny").folder()),
        reward_funcs=right,
        args=GRPOConfig(loss_type=loss_type, num_generations=GROUP, beta=0.0, **arguments(tmp_path, ROWS)),
        train_dataset=Dataset.from_list([{"prompt": "P"}] * ROWS),
        processing_class=copy.deepcopy(trained.tokenizer),
        rollout_func=lambda _, __: {"prompt_ids": prompts, "completion_ids": completions, "logprobs": None},
    )
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    prepared = trainer._generate_and_score_completions([{"prompt": trained.decode(prompt)} for prompt in prompts])
    assert apart(batch.tensors["advantages_B1"][:, 0], prepared["advantages"]) < TOLERANCE
    theirs = trainer.compute_loss(trainer.model, prepared)
    weights_BT = batch.weights_BT
    if loss_type == "dapo":  # TRL samples once, so tokens of groups that ours draws anew count in its mean
        weights_BT = batch.sequences.completion_mask_BT.float()
    ours = our_loss(signal, trained, batch, weights_BT)
    # The losses themselves are near 0, where a relative difference says nothing: advantages sum to 0 in a group.
    assert float((ours - theirs).detach().abs()) < TOLERANCE * float(prepared["advantages"].abs().mean())
    assert apart(gradient(ours, trained.model), gradient(theirs, trainer.model)) < TOLERANCE
