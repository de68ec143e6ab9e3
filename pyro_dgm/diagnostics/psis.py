"""Pareto-smoothed importance sampling: how far a set of importance weights can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_dgm.diagnostics.arviz_lines import smoothed_weights
from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError

__all__ = ["PSIS", "psis"]


@dataclass(frozen=True)
class PSIS:
    r"""Smoothed importance weights and the shape of their tail.

    Attributes:
        log_weights: Smoothed, normalised logarithms of the weights, ``(*batch, n)``: they sum to one.
        k: The tail's Pareto shape :math:`\hat k`, ``(*batch,)``. Below 0.5 the weights have finite variance
            and the guide is good; up to 0.7 estimates are usable; beyond, they are not.
        effective_sample_size: Number of independent draws that these are worth, ``(*batch,)``.
    """

    log_weights: Tensor
    k: Tensor
    effective_sample_size: Tensor

    @property
    def verdict(self) -> str:
        """The worst of the tails in a word: ``"good"``, ``"usable"`` or ``"bad"``."""
        worst = self.k.max().item()
        return "good" if worst <= 0.5 else "usable" if worst <= 0.7 else "bad"


def psis(log_weights: Tensor) -> PSIS:
    r"""Fit a generalised Pareto distribution to the largest importance weights, and smooth them by it.

    Args:
        log_weights: Logarithms of raw weights p(x, z) / q(z), up to a constant, of shape ``(*batch, n)``: one
            set of ``n`` draws a row.

    Returns:
        The :class:`PSIS` of each row. A tail of fewer than five distinct weights has :math:`\hat k = \infty`.

    Raises:
        ShapeError: If there are no draws.
        ArgumentTypeError: If they are no tensor of floating-point numbers.
        DataError: If a weight is NaN or infinite, or all weights of a row are zero.

    Reference:
        Vehtari, Simpson, Gelman, Yao and Gabry, Pareto Smoothed Importance Sampling, JMLR 25, 2024.
        https://arxiv.org/abs/1507.02646
        Yao, Vehtari, Simpson and Gelman, Yes, but Did It Work? Evaluating Variational Inference, ICML 2018.
        https://arxiv.org/abs/1802.02538

    Example:
        >>> _ = torch.manual_seed(0)
        >>> psis(torch.zeros(1000) + 0.01 * torch.randn(1000)).verdict
        'good'
    """
    if not isinstance(log_weights, Tensor) or not log_weights.is_floating_point():
        came = log_weights.dtype if isinstance(log_weights, Tensor) else type(log_weights).__name__
        raise ArgumentTypeError(f"log_weights must be a tensor of floating-point numbers, but is {came}.")
    if log_weights.dim() == 0 or log_weights.shape[-1] == 0:
        raise ShapeError(f"log_weights needs shape (*batch, n), but has {tuple(log_weights.shape)}.")
    rows = log_weights.detach().double().reshape(-1, log_weights.shape[-1])
    if rows.isnan().any() or (rows == math.inf).any():
        raise DataError("a log-weight is NaN or infinite: the density of model or guide is no number there.")
    top = rows.max(-1, keepdim=True).values
    if (top == -math.inf).any():
        raise DataError(
            "all weights of a row are zero: no draw of the guide is possible under the model. Does the guide "
            "cover the model's support?"
        )
    smoothed, k = _by_arviz((rows - top).cpu().numpy())
    log_smoothed = torch.from_numpy(smoothed).log_softmax(-1)
    ess = 1 / (2 * log_smoothed).exp().sum(-1)
    batch = log_weights.shape[:-1]
    return PSIS(
        log_smoothed.reshape(log_weights.shape).to(log_weights),
        torch.from_numpy(k).reshape(batch).to(log_weights),
        ess.reshape(batch).to(log_weights),
    )


def _by_arviz(rows: Any) -> tuple[Any, Any]:
    """ArviZ's estimate for each row; one whose weights are equal, or differ by rounding, has no tail."""
    smoothed, k = np.array(rows), np.full(len(rows), -np.inf)
    # A log-weight of minus infinity is a draw of weight zero; ArviZ wants finite numbers.
    finite = np.maximum(rows, -700.0)
    for i, row in enumerate(finite):
        if np.ptp(row) < 1e-4:  # an exact guide, up to rounding in single precision
            continue
        out, k[i] = smoothed_weights(row)
        smoothed[i] = np.where(rows[i] == -np.inf, -np.inf, out)
    return smoothed, k
