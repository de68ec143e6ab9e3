"""Neural spline flows."""

from __future__ import annotations

from collections.abc import Sequence

from torch.distributions.constraints import Constraint

from pyro_dgm.flows.autoregressive_flow import AutoregressiveFlow
from pyro_dgm.flows.coupling_flow import CouplingFlow
from pyro_dgm.transforms import Affine, Elementwise, RationalQuadratic, Successive

__all__ = ["NeuralSpline", "NeuralSplineAutoregressive"]


class NeuralSpline(CouplingFlow):
    """Couplings with monotone rational-quadratic splines.

    Both directions, sampling and density, cost one pass of each conditioner. Fresh flows are the identity.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        num_layers: Number of couplings.
        hidden_dims: Widths of the hidden layers of each conditioner.
        num_bins: Number of bins of each spline.
        bound: The splines act on ``[-bound, bound]`` and are the identity outside.
        affine: Whether each spline is followed by a conditional scale and shift, which reach the tails that
            the spline leaves as they are: for posteriors, whose scales vary by orders of magnitude.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Durkan, Bekasov, Murray and Papamakarios, Neural Spline Flows, NeurIPS 2019.
        https://arxiv.org/abs/1906.04032

    Example:
        >>> import torch
        >>> NeuralSpline(2)().log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        num_layers: int = 6,
        hidden_dims: Sequence[int] = (128, 128),
        num_bins: int = 8,
        bound: float = 5.0,
        affine: bool = False,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            input_dim,
            _functions(num_bins, bound, affine),
            context_dim,
            num_layers=num_layers,
            hidden_dims=hidden_dims,
            support=support,
            name=name,
        )


class NeuralSplineAutoregressive(AutoregressiveFlow):
    """Autoregressive layers with monotone rational-quadratic splines.

    A density costs one pass of each conditioner; a draw is sequential in the coordinates. Fresh flows are
    the identity.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        num_layers: Number of layers.
        hidden_dims: Widths of the hidden layers of each masked network.
        num_bins: Number of bins of each spline.
        bound: The splines act on ``[-bound, bound]`` and are the identity outside.
        affine: Whether each spline is followed by a conditional scale and shift, which reach the tails that
            the spline leaves as they are: for posteriors, whose scales vary by orders of magnitude.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Durkan, Bekasov, Murray and Papamakarios, Neural Spline Flows, NeurIPS 2019.
        https://arxiv.org/abs/1906.04032
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        num_layers: int = 3,
        hidden_dims: Sequence[int] = (128, 128),
        num_bins: int = 8,
        bound: float = 5.0,
        affine: bool = False,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            input_dim,
            _functions(num_bins, bound, affine),
            "data",
            context_dim,
            num_layers=num_layers,
            hidden_dims=hidden_dims,
            support=support,
            name=name,
        )


def _functions(num_bins: int, bound: float, affine: bool) -> Elementwise:
    """What the layers do to each entry."""
    spline = RationalQuadratic(num_bins, bound)
    return Successive(spline, Affine()) if affine else spline
