"""Per-token divergences between teacher and student, and what is logged beside them. Pure functions of logits.

Every function takes logits [B, T, V] and returns [B, T], in nats; nothing is masked or averaged here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atesd.divergence import Divergence


def _precise(logits: Tensor) -> Tensor:
    """Return logits in fp32 where they come in less: a sum over a vocabulary needs more than bf16's three digits."""
    return logits.float() if logits.dtype is torch.bfloat16 else logits


def token_divergence(
    student_logits_BTV: Tensor,
    teacher_logits_BTV: Tensor,
    divergence: Divergence = Divergence.forward_kl,
    temperature: float = 1.0,
    clip: float = math.inf,
    jsd_weight: float = 0.5,
) -> Tensor:
    """Return the full-vocabulary divergence of every token (OPSD v3, method section).

    Both logits are divided by ``temperature``. Each vocabulary entry's term is clamped above at ``clip``, negative
    terms are kept, so a clipped loss may go below zero by design. The teacher is detached.
    """
    student_BTV = (_precise(student_logits_BTV) / temperature).log_softmax(-1)
    teacher_BTV = (_precise(teacher_logits_BTV.detach()) / temperature).log_softmax(-1)
    if divergence is Divergence.forward_kl:
        terms_BTV = _kl_terms(teacher_BTV, student_BTV)
    elif divergence is Divergence.reverse_kl:
        terms_BTV = _kl_terms(student_BTV, teacher_BTV)
    else:
        mixture_BTV = torch.logaddexp(teacher_BTV + math.log(jsd_weight), student_BTV + math.log1p(-jsd_weight))
        terms_BTV = jsd_weight * _kl_terms(teacher_BTV, mixture_BTV)
        terms_BTV = terms_BTV + (1 - jsd_weight) * _kl_terms(student_BTV, mixture_BTV)
    return terms_BTV.clamp(max=clip).sum(-1) if clip < math.inf else terms_BTV.sum(-1)


def _kl_terms(log_p: Tensor, log_q: Tensor) -> Tensor:
    return log_p.exp() * (log_p - log_q)


def bucketed(logits_BTV: Tensor, ids_BTK: Tensor) -> Tensor:
    """Return log-probabilities [B, T, K + 1] of the given entries and, last, of all others together.

    >>> logits = torch.tensor([[[0.5, 0.25, 0.125, 0.125]]]).log()
    >>> bucketed(logits, torch.tensor([[[0, 2]]])).exp().tolist()
    [[[0.5, 0.125, 0.375]]]
    """
    log_probs_BTV = _precise(logits_BTV).log_softmax(-1)
    others_BT1 = log_probs_BTV.scatter(-1, ids_BTK, -math.inf).logsumexp(-1, keepdim=True)
    return torch.cat([log_probs_BTV.gather(-1, ids_BTK), others_BT1], -1)


def top1_disagreement(student_logits_BTV: Tensor, teacher_logits_BTV: Tensor) -> Tensor:
    """Return 1 where teacher and student have different most likely entries, else 0."""
    return (student_logits_BTV.argmax(-1) != teacher_logits_BTV.argmax(-1)).float()


def entropy(logits_BTV: Tensor) -> Tensor:
    """Return the entropy of every next-token distribution."""
    log_probs_BTV = _precise(logits_BTV).log_softmax(-1)
    return -(log_probs_BTV.exp() * log_probs_BTV).sum(-1)


def token_log_probs(logits_BTV: Tensor, ids_BT: Tensor) -> Tensor:
    """Return the log-probability of each given token."""
    return _precise(logits_BTV).log_softmax(-1).gather(-1, ids_BT[..., None])[..., 0]


def tail_mean(values: Tensor, share: float) -> float:
    """Return the mean of the largest ``share`` of the values, at least one of them."""
    count = max(1, math.ceil(share * values.numel()))
    return float(values.topk(count).values.mean())
