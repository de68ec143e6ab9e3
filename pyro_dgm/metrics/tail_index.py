"""The tail index of importance weights, for many rows at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_dgm.errors import ArgumentTypeError, ShapeError

__all__ = ["tail_index"]


def tail_index(log_weights: Tensor) -> Tensor:
    r"""The shape :math:`\hat k` of the Pareto tail of the weights of each row.

    Above 0.7 the weights' tail is so heavy that a mean of them cannot be trusted, nor its standard error;
    below 0.5 their variance is finite. The fit is that of Zhang and Stephens with the weak prior of
    Pareto-smoothed importance sampling. The tail holds the largest fifth of the draws and at most
    :math:`3 \sqrt{S}` of them, rounded up, as in ArviZ 0.23 (1.x rounds down).

    Args:
        log_weights: Of shape ``(S, n)``: ``S`` draws for each of ``n`` rows.

    Returns:
        One value per row, of shape ``(n,)``: ``-inf`` where all weights are equal, up to
        rounding in single precision, ``inf`` where fewer than
        five are in the tail or most are zero.

    Raises:
        ArgumentTypeError: If they are no tensor of floating-point numbers.
        ShapeError: If they are not of shape ``(S, n)``.

    Reference:
        Vehtari, Simpson, Gelman, Yao and Gabry, Pareto Smoothed Importance Sampling, JMLR 2024.
        https://arxiv.org/abs/1507.02646
        Zhang and Stephens, A New and Efficient Estimation Method for the Generalized Pareto Distribution,
        Technometrics 51, 2009.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> heavy = -torch.rand(4000, 1).log()  # the weights are Pareto with index 1
        >>> bool((tail_index(heavy) - 1).abs() < 0.2)
        True
    """
    if not isinstance(log_weights, Tensor) or not log_weights.is_floating_point():
        came = log_weights.dtype if isinstance(log_weights, Tensor) else type(log_weights).__name__
        raise ArgumentTypeError(f"log_weights must be a tensor of floating-point numbers, but is {came}.")
    if log_weights.dim() != 2:
        raise ShapeError(f"log_weights needs shape (S, n), but has {tuple(log_weights.shape)}.")
    size = len(log_weights)
    count = math.ceil(min(size / 5, 3 * math.sqrt(size)))
    if count < 5:
        return log_weights.new_full(log_weights.shape[1:], math.inf, dtype=torch.double)
    log_weights = log_weights.double()
    largest = (log_weights - log_weights.max(0).values).exp().topk(count + 1, 0).values
    cutoff = largest[-1]
    tail = (largest[:-1] - cutoff).flip(0).T  # rows ascending
    k_hat = _pareto_shape(tail.clamp_min(1e-300))
    k_hat = torch.where((tail[:, 0] <= 0) | k_hat.isnan(), torch.inf, k_hat)
    return torch.where(cutoff > 1 - 1e-4, -torch.inf, k_hat)


def _pareto_shape(x: Tensor) -> Tensor:
    """Fit ascending positive numbers ``(n, M)``."""
    size = x.shape[1]
    number = 30 + int(math.sqrt(size))
    steps = torch.arange(1, number + 1, dtype=x.dtype, device=x.device)
    quartile = x[:, int(size / 4 + 0.5) - 1, None]
    b = (1 - torch.sqrt(number / (steps - 0.5))) / (3 * quartile) + 1 / x[:, -1:]
    k = torch.log1p(-b.unsqueeze(-1) * x.unsqueeze(1)).mean(-1)
    log_likelihood = size * (torch.log(-(b / k)) - k - 1)
    b_mean = (log_likelihood.softmax(-1) * b).sum(-1, keepdim=True)
    shape = torch.log1p(-b_mean * x).mean(-1)
    return (size * shape + 5) / (size + 10)
