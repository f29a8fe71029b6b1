"""The student's weights, whole, whichever way DeepSpeed keeps them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def whole(
    module: nn.Module, wanted: Callable[[nn.Parameter], bool] = lambda parameter: True
) -> Iterator[tuple[str, Tensor]]:
    """Yield every wanted parameter by name, those that ZeRO-3 has sharded gathered one at a time.

    Every rank must iterate.
    """
    return _gathered((name, parameter) for name, parameter in module.named_parameters() if wanted(parameter))


def under_every_name(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield every weight as an ordinary model has it, for a sampler with weights of its own; the model stays as it is.

    A tied parameter comes under each of its names: as output head too, where that is the embedding. What an adapter
    adds comes as part of the weight it adapts, W + alpha / r * B A (LoRA, arXiv 2106.09685, section 4.1), one layer at
    a time. Every rank must iterate.
    """
    ordinary = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers = dict(ordinary.named_modules())
    for name, parameter in ordinary.named_parameters(remove_duplicate=False):
        layer, adapted, kind = name.rpartition(".base_layer.")
        if adapted and kind == "weight":
            yield f"{layer}.weight", _merged(layers[layer])
        elif "lora_" not in name:  # peft's mark of an adapter's own parameters
            yield from _gathered([(name.replace(".base_layer.", "."), parameter)])


def _merged(layer: Any) -> Tensor:
    """Return a layer's weight with what its active adapters add."""
    with _whole_within(list(layer.parameters())), torch.no_grad():
        merged: Tensor = layer.get_base_layer().weight.detach()
        for adapter in layer.active_adapters:
            merged = merged + layer.get_delta_weight(adapter)
        return merged


def _gathered(named: Iterable[tuple[str, nn.Parameter]]) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in named:
        with _whole_within([parameter]):
            yield name, parameter.detach()


@contextmanager
def _whole_within(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Gather what ZeRO-3 has sharded of the parameters."""
    sharded = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    if not sharded:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(sharded):
        yield


def trained(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield, as ``whole`` does, every parameter that training can change: with adapters, theirs alone."""
    return whole(module, lambda parameter: parameter.requires_grad)


def copy_into(source: nn.Module, target: nn.Module, share: float = 1.0) -> None:
    """Move every weight of ``target`` the given share of the way to ``source``."""
    targets = dict(target.named_parameters())
    with torch.no_grad():
        for name, weight in trained(source):
            if share == 1.0:
                targets[name].copy_(weight)
            else:
                targets[name].lerp_(weight.to(targets[name]), share)


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of every weight that training can change."""
    return {name: weight.contiguous().clone() for name, weight in trained(module)}


def restore(module: nn.Module, stored: dict[str, Tensor]) -> None:
    """Copy stored weights into a module that is not sharded."""
    with torch.no_grad():
        weights = dict(module.named_parameters())
        for name, weight in stored.items():
            weights[name].copy_(weight)


def save(module: nn.Module, path: Path) -> None:
    """Write a module that no engine holds."""
    save_file(snapshot(module), path)


def load(module: nn.Module, path: Path) -> None:
    """Read what ``save`` wrote."""
    restore(module, load_file(path))


def count_without_embeddings(model: Any) -> int:
    """Return the number of parameters of a whole causal model, those of its token embeddings left out."""
    embeddings = {id(layer.weight) for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer}
    return sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in embeddings)


def fingerprint(module: nn.Module) -> str:
    """Return a hash of all weights."""
    digest = hashlib.sha256()
    for name, weight in whole(module):
        digest.update(name.encode())
        digest.update(weight.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
