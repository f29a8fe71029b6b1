"""MiniLLM (arXiv 2306.08543): reverse KL between whole completions, as a policy gradient on the sampled tokens.

With r_t = log p(y_t) - log q(y_t), teacher p and student q, the gradient of KL(q || p) falls into two parts (the
paper's single-step decomposition):

    of token t itself      exact: the gradient of the full-vocabulary KL(q || p) at t
    of the tokens after t  sampled: -(mean of r over them) * gradient of log q(y_t)

The mean instead of the sum is the paper's length normalisation. Tokens that ``signal.trust`` weighs less weigh less in
it too. Not here: its teacher is a larger model, so ours is the student's own, shown the whole reference (ours);
sampling from a mixture with the teacher (0.2 of it) needs a teacher that generates; the language-modelling loss on a
pre-training corpus needs that corpus; the clip at 0.2 never acts with one optimizer step per batch (see ``grpo``). Its
code also whitens, scales, clips and discounts the returns; the paper does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from atesd.config import RunConfig
from atesd.distillation import UNALTERED, Distillation
from atesd.divergence import Divergence
from atesd.errors import UserError
from atesd.registry import register
from atesd.signals import BaselineConfig, Signal, SignalBatch

if TYPE_CHECKING:
    from torch import Tensor


def mean_of_later(values_BT: Tensor, weights_BT: Tensor) -> Tensor:
    """Return at every token the weighted mean of the values after it, 0 where none of them has weight.

    >>> import torch
    >>> mean_of_later(torch.tensor([[9.0, 4.0, 2.0, 7.0]]), torch.tensor([[1, 1, 1, 0]])).tolist()
    [[3.0, 2.0, 0.0, 0.0]]
    """
    kept_BT = values_BT.where(weights_BT > 0, 0.0) * weights_BT
    later_BT = kept_BT.flip(1).cumsum(1).flip(1) - kept_BT
    weight_BT = weights_BT.flip(1).cumsum(1).flip(1) - weights_BT
    return later_BT / weight_BT.where(weight_BT > 0, 1.0)


class SequenceReverseKl(Distillation):
    """Adds to each token's own reverse KL what it does to the tokens after it."""

    def token_losses(self, student_logits_BTV: Tensor, batch: SignalBatch) -> tuple[Tensor, dict[str, Tensor]]:
        from atesd.losses import token_log_probs

        own_BT, columns = super().token_losses(student_logits_BTV, batch)
        ids_BT, temperature = batch.sequences.completion_ids_BT, self.config.temperature
        student_BT = token_log_probs(student_logits_BTV / temperature, ids_BT)
        teacher_BT = token_log_probs(batch.tensors["teacher_logits_BTV"] / temperature, ids_BT)
        return_BT = mean_of_later(teacher_BT - student_BT.detach(), batch.weights_BT)
        ratio_BT = (student_BT - student_BT.detach()).exp()
        return own_BT - return_BT * ratio_BT, columns


@register("baseline", "minillm")
@dataclass
class MiniLlmConfig(BaselineConfig):
    """Nothing to set. The paper samples at temperature 1 from the whole vocabulary."""

    brings: ClassVar[dict[str, Any]] = {
        "signal": {"divergence": "reverse_kl", **UNALTERED},
        "rollout": {"temperature": 1.0, "top_p": 1.0, "top_k": 0},
    }

    def signal(self, run: RunConfig) -> Signal:
        run.signal.require(Divergence.reverse_kl, self.name)
        if run.signal.temperature != run.rollout.temperature:  # the gradient's sampled part takes them for one policy
            raise UserError(
                f"baseline=minillm needs signal.temperature={run.signal.temperature:g} and rollout.temperature="
                f"{run.rollout.temperature:g} to be equal; leave both out, or set both alike"
            )
        return SequenceReverseKl(run.signal, run.exposure.cut)
