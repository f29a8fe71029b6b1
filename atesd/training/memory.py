"""What a run needs of each device, counted on a model that has shapes and no weights (the meta device)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from atesd.config import RunConfig, TeacherKind
from atesd.errors import UserError
from atesd.losses import token_divergence
from atesd.models import ModelConfig, PublishedConfig
from atesd.training.engine import Offload

GIB = 2**30
# fp32 gradients, fp32 weights and AdamW's two moments: what DeepSpeed keeps of a trained weight besides the weight.
MASTER_BYTES = 16
# Of an averaged teacher's weight, beside its bf16 copy.
AVERAGE_BYTES = 4


@dataclass(frozen=True)
class Lengths:
    """The longest prompts and completion of a batch, in tokens."""

    student: int
    teacher: int
    completion: int


@dataclass(frozen=True)
class Memory:
    """Bytes of one device. The phases of an update follow each other, so the larger counts.

    Attributes:
        states: weights, gradients, optimizer and the copies that rollouts and a frozen teacher need.
        rollout: keys and values of all sequences of the rank.
        update: the teacher's logits of all sequences of the rank, and what the student's pass over one micro-batch
            keeps for its gradient, which is more than a pass needs that only scores.
    """

    states: int
    rollout: int
    update: int

    @property
    def total(self) -> int:
        return self.states + max(self.rollout, self.update)


@dataclass(frozen=True)
class Shape:
    """A model without weights.

    Attributes:
        model: on the meta device, with the run's adapters.
        trained: weights that training changes.
        frozen: the others.
        largest: weights of the largest layer.
    """

    model: Any
    trained: int
    frozen: int
    largest: int


def shape(run: RunConfig) -> Shape:
    """Build a run's model from its architecture alone.

    Raises:
        UserError: there is no model.
    """
    with torch.device("meta"), torch.random.fork_rng():
        model = AutoModelForCausalLM.from_config(_architecture(run.model), dtype=getattr(torch, run.model.dtype.value))
        if run.lora:
            model = run.lora.adapt(model, run.seed)
    sizes = {parameter: parameter.numel() for parameter in model.parameters()}
    trained = sum(size for parameter, size in sizes.items() if parameter.requires_grad)
    return Shape(model, trained, sum(sizes.values()) - trained, max(sizes.values()))


def _architecture(model: ModelConfig) -> Any:
    if isinstance(model, PublishedConfig) and not model.folder().is_dir():
        return AutoConfig.for_model(**json.loads(model.architecture().read_text()))
    source = model.source()
    return AutoConfig.from_pretrained(source.name, **source.arguments)


def states(run: RunConfig, model: Shape, devices: int) -> int:
    """Return the bytes of weights, gradients and optimizer on each of ``devices`` devices.

    In bf16 and at stages 2 and 3 this is DeepSpeed's own estimate (``estimate_zero2_model_states_mem_needs``) of what
    is trained, and the bytes of what is frozen.
    """
    stage, each = run.deepspeed.stage, model.model.dtype.itemsize
    kept = MASTER_BYTES if run.deepspeed.offload is Offload.none else 0
    whole = each * (model.trained + model.frozen)
    teacher = whole if run.teacher.kind is not TeacherKind.live and run.lora is None else 0
    if run.teacher.kind is TeacherKind.ema and each < AVERAGE_BYTES:
        teacher += AVERAGE_BYTES * model.trained
    if stage == 3:  # and the whole copy for rollouts
        sharded = (each + kept) * model.trained // devices + each * model.frozen // devices
        return whole + teacher + 4 * model.largest + sharded
    if stage == 0:
        return whole + teacher + (each + 2 * 4) * model.trained
    gradients = each if kept else 0
    if stage == 1:
        return whole + teacher + gradients * model.trained + kept * model.trained // devices
    return whole + teacher + (gradients + kept) * model.trained // devices


def count(run: RunConfig, model: Shape, devices: int, lengths: Lengths) -> Memory:
    """Return what each of ``devices`` devices needs."""
    config, each = model.model.config, model.model.dtype.itemsize
    rows = -(-run.train.batch_size // devices)
    heads, width = config.num_key_value_heads, getattr(config, "head_dim", None)
    width = width or config.hidden_size // config.num_attention_heads
    cache = 2 * config.num_hidden_layers * heads * width * each * rows * (lengths.student + lengths.completion)
    teacher = rows * lengths.completion * config.vocab_size * each
    return Memory(
        states(run, model, devices),
        cache,
        teacher + saved_for_gradient(run, model, min(rows, run.train.micro_batch_size), lengths),
    )


def saved_for_gradient(run: RunConfig, model: Shape, rows: int, lengths: Lengths) -> int:
    """Count the bytes autograd keeps between one micro-batch's forward and backward pass, loss included.

    With gradient checkpointing these are each layer's input, and one layer's part of the rest.
    """
    config, each = model.model.config, model.model.dtype.itemsize
    tokens = lengths.student + lengths.completion
    ids = torch.zeros((rows, tokens), dtype=torch.long, device="meta")
    mask = torch.ones((rows, 1, tokens, tokens), dtype=torch.bool, device="meta")
    passed = Saved(model.model)
    with passed:
        logits_BTV = model.model(
            input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=lengths.completion
        ).logits
    lost = Saved(model.model)
    with lost:
        token_divergence(
            logits_BTV, torch.empty_like(logits_BTV), run.signal.divergence, run.signal.temperature, run.signal.clip
        )
    kept = passed.bytes
    if run.train.gradient_checkpointing:
        inputs = config.num_hidden_layers * rows * tokens * config.hidden_size * each
        kept = inputs + kept // config.num_hidden_layers
    return int(kept + lost.bytes + logits_BTV.nbytes)


class Saved:
    """Counts the bytes of every tensor that autograd keeps within the block, weights left out, each storage once."""

    def __init__(self, model: Any) -> None:
        self.seen = {id(parameter) for parameter in model.parameters()}
        self.kept: dict[int, Tensor] = {}
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def __enter__(self) -> None:
        self.hooks.__enter__()

    def __exit__(self, *error: object) -> None:
        self.hooks.__exit__(*error)

    def _keep(self, tensor: Tensor) -> Tensor:
        base = tensor if tensor._base is None else tensor._base
        if id(base) not in self.seen:
            self.kept[id(base)] = base  # held, so that its id stays its own
        return tensor

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.kept.values())


def available() -> int:
    """Return the bytes this process's device has free."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def refuse_too_large(run: RunConfig, devices: int) -> None:
    """Raise ``UserError`` if weights, gradients and optimizer alone do not fit; nothing is loaded for that."""
    needed, free = states(run, shape(run), devices), available()
    if needed > free:
        raise UserError(
            f"model.path={run.model.folder()} needs at least {needed / GIB:.1f} GiB on each of {devices} devices for "
            f"weights, gradients and optimizer, and {free / GIB:.1f} GiB are free; choose a smaller model, lora=opsd, "
            "model.dtype=bfloat16, a higher deepspeed.stage, deepspeed.offload=cpu or more devices"
        )
