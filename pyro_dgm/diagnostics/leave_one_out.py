"""How well a model predicts each datum from the others, without fitting it anew for each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from pyro_dgm.diagnostics.psis import psis
from pyro_dgm.errors import DataError, ShapeError

__all__ = ["LeaveOneOut", "leave_one_out"]


@dataclass(frozen=True)
class LeaveOneOut:
    """Log-densities of data left out, by importance sampling.

    Attributes:
        pointwise: Log-density of each datum given the others, of shape ``(n,)``, in nats.
        k: Shape of the tail of the weights that leave each datum out, ``(n,)``: above 0.7 its value is not
            to be trusted.
        num_parameters: The effective number of parameters: how much better the data are predicted that the
            posterior has seen, in nats.
    """

    pointwise: Tensor
    k: Tensor
    num_parameters: float

    @property
    def elpd(self) -> float:
        """The sum over the data, in nats."""
        return self.pointwise.sum().item()

    @property
    def standard_error(self) -> float:
        """Standard error of the sum, over data sets of this size; NaN of one datum."""
        return (
            math.sqrt(len(self.pointwise) * self.pointwise.var().item())
            if len(self.pointwise) > 1
            else math.nan
        )

    def __str__(self) -> str:
        bad = int((self.k > 0.7).sum())
        return (
            f"elpd {self.elpd:.2f} ± {self.standard_error:.2f} nats of {len(self.k)} data, effective number "
            f"of parameters {self.num_parameters:.2f}; k-hat above 0.7 for {bad}"
        )


def leave_one_out(log_likelihood: Tensor, log_weights: Tensor | None = None) -> LeaveOneOut:
    r"""Estimate log p(x_i | the other data) of each datum from draws of one posterior.

    A draw :math:`z` of an approximation :math:`q` has the weight :math:`p(x, z) / q(z)` towards the
    posterior, and :math:`p(x, z) / (q(z)\, p(x_i | z))` towards that without :math:`x_i`. Those weights are
    smoothed by a Pareto tail.

    Args:
        log_likelihood: The log-density of each datum under each draw, of shape ``(S, *data)``, in nats.
        log_weights: Those of the draws, log p(x, z) - log q(z), of shape ``(S,)``; None for draws of the
            posterior itself, as of MCMC.

    Raises:
        ShapeError: If there is not one weight for each draw.
        DataError: If a datum is impossible under a draw, or a value is NaN.

    Reference:
        Vehtari, Gelman and Gabry, Practical Bayesian Model Evaluation Using Leave-One-Out Cross-Validation
        and WAIC, Statistics and Computing 27, 2017. https://arxiv.org/abs/1507.04544
        Magnusson, Andersen, Jonasson and Vehtari, Bayesian Leave-One-Out Cross-Validation for Large Data,
        ICML 2019. https://arxiv.org/abs/1904.10679
    """
    if log_likelihood.dim() == 0 or log_likelihood.numel() == 0:
        raise ShapeError(f"log_likelihood needs shape (S, *data), but has {tuple(log_likelihood.shape)}.")
    size = len(log_likelihood)
    scores = log_likelihood.detach().double().reshape(size, -1).T
    if log_weights is not None and log_weights.shape != (size,):
        raise ShapeError(f"log_weights needs shape ({size},), but has {tuple(log_weights.shape)}.")
    if not scores.isfinite().all():
        raise DataError(
            "a datum has a log-density that is not finite under some draw: it cannot be left out."
        )
    weights = scores.new_zeros(size) if log_weights is None else log_weights.detach().double()
    left = psis(weights - scores)
    pointwise = (left.log_weights + scores).logsumexp(-1)
    seen = (weights.log_softmax(0) + scores).logsumexp(-1)
    return LeaveOneOut(pointwise, left.k, (seen - pointwise).sum().item())
