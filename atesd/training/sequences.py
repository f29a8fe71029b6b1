"""Prompt and completion token ids as one batch, aligned so that no prompt's length moves another's completion.

Prompts are padded on the left and completions on the right, and position ids count real tokens only. (The public OPSD
code pads prompts on the right and lets positions run over the pads; shorter prompts then see shifted positions.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from atesd.losses import token_log_probs

TokenIds = Sequence[int]


@dataclass(frozen=True)
class Sequences:
    """A batch of prompts with completions.

    Attributes:
        ids: [B, P + T] token ids.
        mask: [B, P + T] 1 on real tokens.
        prompt_length: P, the padded length of the prompts.
    """

    ids: Tensor
    mask: Tensor
    prompt_length: int

    @property
    def completion_ids_BT(self) -> Tensor:
        return self.ids[:, self.prompt_length :]

    @property
    def completion_mask_BT(self) -> Tensor:
        return self.mask[:, self.prompt_length :]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Tensor) -> Sequences:
        return Sequences(self.ids[rows], self.mask[rows], self.prompt_length)

    def by_length(self, size: int) -> tuple[Tensor, ...]:
        """Return the rows in groups of ``size``, the shortest first, so that little of a group is padding."""
        return self.mask.sum(1).argsort(stable=True).split(size)

    def tight(self) -> Sequences:
        """Return the batch without the columns that are padding in every row."""
        real = self.mask.any(0).nonzero()
        first, end = int(real[0]), int(real[-1]) + 1
        return Sequences(self.ids[:, first:end], self.mask[:, first:end], self.prompt_length - first)


def collate(
    prompts: Sequence[TokenIds], completions: Sequence[TokenIds], pad_id: int, device: torch.device | str = "cpu"
) -> Sequences:
    """Pad prompts left and completions right into one [B, P + T] batch on a device."""
    prompt_length = max(map(len, prompts))
    length = prompt_length + max(map(len, completions))
    ids = torch.full((len(prompts), length), pad_id, dtype=torch.long)
    mask = torch.zeros((len(prompts), length), dtype=torch.long)
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        start, end = prompt_length - len(prompt), prompt_length + len(completion)
        ids[row, start:end] = torch.tensor([*prompt, *completion])
        mask[row, start:end] = 1
    return Sequences(ids.to(device), mask.to(device), prompt_length)


def positions(mask: Tensor) -> Tensor:
    """Return position ids that count real tokens from 0; pads get 0."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def completion_logits(model: Any, sequences: Sequences) -> Tensor:
    """Return the logits [B, T, V] that predict each completion token: those one position before it."""
    tight = sequences.tight()
    steps = tight.completion_ids_BT.shape[1]
    output = model(
        input_ids=tight.ids,
        attention_mask=tight.mask,
        position_ids=positions(tight.mask),
        use_cache=False,
        logits_to_keep=steps + 1,
    )
    return pad(output.logits[:, :-1], (0, 0, 0, sequences.completion_ids_BT.shape[1] - steps))


def score(model: Any, sequences: Sequences, size: int) -> Tensor:
    """Return the same logits [B, T, V] without gradient, from passes of ``size`` sequences of like length."""
    return _by_pass(lambda group: completion_logits(model, group), sequences, size)


def score_tokens(model: Any, sequences: Sequences, size: int) -> Tensor:
    """Return the log-probabilities [B, T] of the completions' tokens; never are there logits of more than one pass."""
    return _by_pass(
        lambda group: token_log_probs(completion_logits(model, group), group.completion_ids_BT), sequences, size
    )


def _by_pass(scores: Callable[[Sequences], Tensor], sequences: Sequences, size: int) -> Tensor:
    first, *others = sequences.by_length(size)
    with torch.no_grad():
        scored = scores(sequences[first])
        values = scored.new_empty(len(sequences), *scored.shape[1:])  # filled in place: logits are large
        values[first] = scored
        for rows in others:
            values[rows] = scores(sequences[rows])
    return values
