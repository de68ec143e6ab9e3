"""Autoregressive flows of monotone polynomials."""

from __future__ import annotations

from collections.abc import Sequence

from torch.distributions.constraints import Constraint

from pyro_dgm.flows.autoregressive_flow import AutoregressiveFlow
from pyro_dgm.transforms import Bernstein, SumOfSquares

__all__ = ["BernsteinFlow", "SumOfSquaresFlow"]


class BernsteinFlow(AutoregressiveFlow):
    """Each latent is an increasing Bernstein polynomial of its coordinate, chosen by the earlier ones.

    A density costs one pass of each conditioner; a draw is sequential in the coordinates, each by a
    safeguarded root with exact first and second derivatives. Fresh flows are the identity.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        num_layers: Number of layers.
        hidden_dims: Widths of the hidden layers of each masked network.
        degree: Degree of the polynomials.
        bound: They act on ``[-bound, bound]`` and are linear outside.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Ramasinghe, Fernando, Khan and Barnes, Robust normalizing flows using Bernstein-type polynomials, BMVC
        2022. https://arxiv.org/abs/2102.03509

    Example:
        >>> import torch
        >>> BernsteinFlow(3, num_layers=1)().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        num_layers: int = 3,
        hidden_dims: Sequence[int] = (128, 128),
        degree: int = 16,
        bound: float = 5.0,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            input_dim,
            Bernstein(degree, bound),
            "data",
            context_dim,
            num_layers=num_layers,
            hidden_dims=hidden_dims,
            support=support,
            name=name,
        )


class SumOfSquaresFlow(AutoregressiveFlow):
    """Each latent is the integral of a sum of squared polynomials, chosen by the earlier coordinates.

    A density costs one pass of each conditioner; a draw is sequential in the coordinates, each by a
    safeguarded root with exact first and second derivatives. Fresh flows are near the identity.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        num_layers: Number of layers.
        hidden_dims: Widths of the hidden layers of each masked network.
        num_polynomials: Number of squared polynomials in each sum.
        degree: Their degree.
        bound: The functions are polynomials on ``[-bound, bound]`` and linear outside.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Jaini, Selby and Yu, Sum-of-Squares Polynomial Flow, ICML 2019. https://arxiv.org/abs/1905.02325
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        num_layers: int = 3,
        hidden_dims: Sequence[int] = (128, 128),
        num_polynomials: int = 3,
        degree: int = 4,
        bound: float = 5.0,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            input_dim,
            SumOfSquares(num_polynomials, degree, bound),
            "data",
            context_dim,
            num_layers=num_layers,
            hidden_dims=hidden_dims,
            support=support,
            name=name,
        )
