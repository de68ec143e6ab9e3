"""Are posteriors as wide as their errors? Ranks of the truth among the draws, over many data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pyro_dgm.diagnostics.calibration_report import Calibration
from pyro_dgm.errors import DataError, ShapeError

__all__ = ["calibration", "tarp"]


def calibration(
    truth: Tensor | Mapping[str, Tensor],
    draws: Tensor | Mapping[str, Tensor],
    *,
    names: Sequence[str] | None = None,
) -> Calibration:
    """Rank true values among posterior draws: simulation-based calibration.

    Each truth is a draw from the prior, its data set a draw of the model given it, and its draws come from
    the posterior of that data set. The truth is then one more draw of the same posterior.

    Args:
        truth: One value for each data set, of shape ``(n, q)``, or values ``(n, *site)`` of sites by name.
        draws: As many draws for each, independent ones: ``(n, L, q)``, or ``(n, L, *site)`` by name. Thin
            chains of MCMC until they are independent.
        names: What the quantities are called; by default their sites, or numbers.

    Raises:
        ShapeError: If draws and truths do not fit.
        DataError: If a value is NaN.

    Reference:
        Talts, Betancourt, Simpson, Vehtari and Gelman, Validating Bayesian Inference Algorithms with
        Simulation-Based Calibration, 2018. https://arxiv.org/abs/1804.06788

    Example:
        >>> _ = torch.manual_seed(0)
        >>> truth, draws = torch.randn(500, 1), 0.7 * torch.randn(500, 99, 1)
        >>> calibration(truth, draws, names=["z"]).sentence
        'These posteriors are wrong: z is drawn too narrow.'
    """
    truth, draws, own = _columns(truth, draws)
    names = own if names is None else tuple(names)
    if len(names) != truth.shape[1]:
        raise ValueError(f"there are {truth.shape[1]} quantities, but {len(names)} names.")
    # Equal values, as of discrete sites, take a place among themselves at random.
    below, equal = (draws < truth[:, None]).sum(1), (draws == truth[:, None]).sum(1)
    ranks = below + (torch.rand(equal.shape) * (equal + 1)).long().clamp(max=equal)
    return Calibration(ranks, draws.shape[1], names)


def tarp(
    truth: Tensor | Mapping[str, Tensor],
    draws: Tensor | Mapping[str, Tensor],
    *,
    references: Tensor | None = None,
) -> Calibration:
    """Test joint posteriors by the distance of truth and draws from a random point.

    The truth's rank in distance from a reference point is uniform if the posterior is right, for any point
    that does not depend on it, and over enough kinds of points only then. Marginal ranks do not see wrong
    correlations; this does.

    Args:
        truth: As for :func:`calibration`.
        draws: As for :func:`calibration`.
        references: A point for each data set, ``(n, q)``; by default the truth of the next one.

    Raises:
        ShapeError: If draws, truths and references do not fit.
        DataError: If a value is NaN.

    Reference:
        Lemos, Coogan, Hezaveh and Perreault-Levasseur, Sampling-Based Accuracy Testing of Posterior
        Estimators for General Inference, ICML 2023. https://arxiv.org/abs/2302.03026
    """
    truth, draws, _ = _columns(truth, draws)
    points = truth.roll(1, 0) if references is None else references
    if points.shape != truth.shape:
        raise ShapeError(f"references need shape {tuple(truth.shape)}, but have {tuple(points.shape)}.")
    scale = truth.std(0).clamp_min(1e-30)
    of_truth = ((truth - points) / scale).norm(dim=-1, keepdim=True)
    of_draws = ((draws - points[:, None]) / scale).norm(dim=-1, keepdim=True)
    return calibration(of_truth, of_draws, names=["distance from a random point"])


def _columns(
    truth: Tensor | Mapping[str, Tensor], draws: Tensor | Mapping[str, Tensor]
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Every entry of every site as a column: ``(n, q)``, ``(n, L, q)``, and what they are called."""
    if isinstance(truth, Mapping) != isinstance(draws, Mapping):
        raise TypeError("truth and draws must both be tensors, or both be values of sites by name.")
    if isinstance(truth, Mapping) and isinstance(draws, Mapping):
        names = [f"{k}{list(i) or ''}" for k, v in truth.items() for i in _indices(v.shape[1:])]
        missing = [name for name in truth if name not in draws]
        if missing or not truth:
            raise DataError(
                f"the draws lack {', '.join(missing) or 'any site'}; they have {', '.join(draws)}."
            )
        draws = torch.cat([draws[name].flatten(2) if draws[name].dim() > 2 else draws[name][..., None]
                           for name in truth], -1)  # fmt: skip
        truth = torch.cat([v.reshape(len(v), -1) for v in truth.values()], -1)
    else:
        assert isinstance(truth, Tensor)
        names = [str(i) for i in range(truth.shape[-1])]
    assert isinstance(draws, Tensor)
    fits = truth.dim() == 2 and draws.dim() == 3
    if not fits or draws.shape[::2] != truth.shape or not draws.shape[1] or len(truth) < 2:
        raise ShapeError(
            f"truth needs shape (n, q) with two data sets or more, and draws (n, L, q), but they have "
            f"{tuple(truth.shape)} and {tuple(draws.shape)}."
        )
    if truth.isnan().any() or draws.isnan().any():
        raise DataError("a truth or a draw is NaN: it has no rank.")
    return truth.detach(), draws.detach(), tuple(names)


def _indices(shape: torch.Size) -> list[tuple[int, ...]]:
    return [tuple(index) for index in torch.ones(shape).nonzero().tolist()]
