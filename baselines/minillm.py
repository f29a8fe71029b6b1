"""MiniLLM (arXiv 2306.08543): reverse KL between whole completions, as a policy gradient on the sampled tokens.

With r_t = log p(y_t) - log q(y_t), teacher p and student q, the gradient of KL(q || p) falls into two parts (the
paper's single-step decomposition):

    of token t itself      exact: the gradient of the full-vocabulary KL(q || p) at t
    of the tokens after t  sampled: -(mean of r over them) * gradient of log q(y_t)

The mean instead of the sum is the paper's length normalisation. Not here: its teacher is a larger model, so ours is
the student's own, shown the whole reference (ours); sampling from a mixture with the teacher (0.2 of it) needs a
teacher that generates; the language-modelling loss on a pre-training corpus needs that corpus; the clip at 0.2 never
acts with one optimizer step per batch (see ``grpo``); its code whitens the returns, the paper does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atesd.config import RunConfig
from atesd.distillation import Distillation
from atesd.divergence import Divergence
from atesd.registry import register
from atesd.signals import BaselineConfig, Signal, SignalBatch

if TYPE_CHECKING:
    from torch import Tensor


def mean_of_later(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Return at every token the mean of the values after it, 0 at the last; what the mask leaves out does not count.

    >>> import torch
    >>> mean_of_later(torch.tensor([[9.0, 4.0, 2.0, 7.0]]), torch.tensor([[1, 1, 1, 0]])).tolist()
    [[3.0, 2.0, 0.0, 0.0]]
    """
    kept_BT = values_BT.where(mask_BT.bool(), 0.0)
    later_BT = kept_BT.flip(1).cumsum(1).flip(1) - kept_BT
    count_BT = mask_BT.flip(1).cumsum(1).flip(1) - mask_BT
    return later_BT / count_BT.clamp(min=1)


class SequenceReverseKl(Distillation):
    """Adds to each token's own reverse KL what it does to the tokens after it."""

    def token_losses(self, student_logits_BTV: Tensor, batch: SignalBatch) -> tuple[Tensor, dict[str, Tensor]]:
        from atesd.losses import token_log_probs

        own_BT, columns = super().token_losses(student_logits_BTV, batch)
        ids_BT, temperature = batch.sequences.completion_ids_BT, self.config.temperature
        student_BT = token_log_probs(student_logits_BTV / temperature, ids_BT)
        teacher_BT = token_log_probs(batch.tensors["teacher_logits_BTV"] / temperature, ids_BT)
        return_BT = mean_of_later(teacher_BT - student_BT.detach(), batch.sequences.completion_mask_BT)
        ratio_BT = (student_BT - student_BT.detach()).exp()
        return own_BT - return_BT * ratio_BT, columns


@register("baseline", "minillm")
@dataclass
class MiniLlmConfig(BaselineConfig):
    """Nothing to set; temperature and clip are those of ``signal``. The paper samples at temperature 1."""

    def signal(self, run: RunConfig) -> Signal:
        return SequenceReverseKl(replace(run.signal, divergence=Divergence.reverse_kl), run.exposure.cut)
