"""Importance-sampled log-likelihood of a latent-variable model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.distributions.entries import without_missing
from pyro_dgm.errors import DataError
from pyro_dgm.metrics.importance import log_weights
from pyro_dgm.metrics.tail_index import tail_index
from pyro_dgm.models.generative_model import seeded

__all__ = ["LikelihoodEstimate", "importance_log_likelihood"]


@dataclass(frozen=True)
class LikelihoodEstimate:
    """An importance-sampled estimate of log p(x): a lower bound in expectation.

    Attributes:
        log_prob: The estimate of each row, of shape ``(n,)``, in nats.
        ess: Effective number of importance samples of each row, between 1 and ``num_samples``. Where it is
            small a few samples carry the estimate, which then lies well below log p(x).
        num_samples: Number ``K`` of importance samples of each row.
        k_hat: Tail index of the weights of each row, see :func:`~pyro_dgm.metrics.tail_index.tail_index`:
            where it is above 0.7, more samples would still move the estimate.
    """

    log_prob: Tensor
    ess: Tensor
    num_samples: int
    k_hat: Tensor

    @property
    def mean(self) -> float:
        """Mean over the rows, in nats."""
        return self.log_prob.mean().item()

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over the rows: how well the data set is known, not the integral."""
        return (
            (self.log_prob.std() / math.sqrt(len(self.log_prob))).item()
            if len(self.log_prob) > 1
            else math.nan
        )

    def __str__(self) -> str:
        return (
            f"{self.mean:.3f} ± {self.standard_error:.3f} nats per row ({len(self.log_prob)} rows, "
            f"K={self.num_samples} importance samples, of which effective: median {self.ess.median():.1f}, "
            f"least {self.ess.min():.1f}; k-hat above 0.7 in {(self.k_hat > 0.7).double().mean():.0%})"
        )


def importance_log_likelihood(
    model: Callable[..., Any],
    x: Tensor,
    *,
    num_samples: int,
    guide: Callable[..., Any] | None = None,
    context: Tensor | None = None,
    mask: Tensor | None = None,
    chunk: int = 1024,
    seed: int | None = None,
) -> LikelihoodEstimate:
    r"""Estimate log p(x) of each row with the guide as the proposal.

    .. math:: \log \hat p_K(x) = \log \frac{1}{K} \sum_{k=1}^K \frac{p(x, z_k)}{q(z_k | x)}, \qquad
              z_k \sim q(z | x)

    Its expectation is at most log p(x) and does not fall as ``K`` grows; with ``K = 1`` it estimates the
    ELBO. The rows stand for themselves: nothing is scaled to the size of a larger data set. Modules are
    evaluated in evaluation mode, without gradients.

    Args:
        model: A Pyro model with the signature ``model(x)`` or ``model(x, context)``, whose sites lie in one
            plate over the rows, its rightmost batch dimension.
        x: The rows, of shape ``(n, *event)``.
        num_samples: Number ``K`` of importance samples of each row.
        guide: The proposal; ``model.guide`` by default.
        context: What the rows are conditioned on, of shape ``(n, C)``, or None.
        mask: Of the shape of ``x``, false where an entry is missing: the density is then that of the others.
            Model and guide are given it, so both must take it, as those of a VAE do.
        chunk: Upper bound of rows times samples that are evaluated at once: it bounds the memory.
        seed: Seed of the samples, which then leaves the global random state as it was.

    Returns:
        The estimate of each row with its effective sample size.

    Raises:
        DataError: If there is no guide, no row, ``num_samples`` or ``chunk`` is not positive, or as in
            :func:`~pyro_dgm.metrics.log_weights`.

    Reference:
        Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016.
        https://arxiv.org/abs/1509.00519
        Mattei and Frellsen, MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets, ICML
        2019 (missing entries). https://arxiv.org/abs/1812.02633
    """
    guide = getattr(model, "guide", None) if guide is None else guide
    if guide is None:
        raise DataError("importance sampling needs a proposal: pass guide=, or give the model one.")
    if num_samples < 1 or chunk < 1:
        raise DataError(f"num_samples and chunk must be at least 1, but are {num_samples} and {chunk}.")
    if mask is not None:
        x = without_missing(x, mask)
    if len(x) == 0:
        raise DataError(f"x has no rows: its shape is {tuple(x.shape)}. Give at least one.")
    rows_at_once = max(1, chunk // num_samples)
    parts = []
    with seeded(seed):
        for start in range(0, len(x), rows_at_once):
            here = slice(start, start + rows_at_once)
            given = None if context is None else context[here]
            seen = None if mask is None else mask[here]
            weights = log_weights(model, guide, x[here], num_samples, context=given, mask=seen, chunk=chunk)
            log_sum = weights.logsumexp(0)
            # Kish's (sum w)^2 / sum w^2; none at all where every weight is zero
            ess = (2 * log_sum - (2 * weights).logsumexp(0)).exp().nan_to_num(0.0)
            parts.append(torch.stack([log_sum - math.log(num_samples), ess, tail_index(weights)]))
    log_prob, ess, k_hat = torch.cat(parts, 1)
    return LikelihoodEstimate(log_prob, ess, num_samples, k_hat)
