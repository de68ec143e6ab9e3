"""Autoregressive flows with free-form increasing functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.distributions.constraints import Constraint

from pyro_dgm.flows.autoregressive_flow import AutoregressiveFlow
from pyro_dgm.nets import MLP
from pyro_dgm.transforms import DeepSigmoidal, Elementwise, MonotoneIntegral

__all__ = ["NAF", "UNAF"]


class NAF(AutoregressiveFlow):
    """Each latent is the logit of a mixture of sigmoids of its coordinate, chosen by the earlier ones.

    A density costs one pass of each conditioner; a draw is sequential in the coordinates, each by a
    safeguarded root with exact first and second derivatives. Fresh flows are near the identity.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        num_layers: Number of layers.
        hidden_dims: Widths of the hidden layers of each masked network.
        num_units: Number of sigmoids of each function.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Huang, Krueger, Lacoste and Courville, Neural Autoregressive Flows, ICML 2018.
        https://arxiv.org/abs/1804.00779

    Example:
        >>> import torch
        >>> NAF(3, num_layers=1)().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        num_layers: int = 3,
        hidden_dims: Sequence[int] = (128, 128),
        num_units: int = 8,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            input_dim,
            DeepSigmoidal(num_units),
            "data",
            context_dim,
            num_layers=num_layers,
            hidden_dims=hidden_dims,
            support=support,
            name=name,
        )


class UNAF(AutoregressiveFlow):
    """Each latent is the integral of a positive network of its coordinate, steered by the earlier ones.

    A density costs one pass of each conditioner and the quadrature; a draw is sequential in the coordinates,
    each by a safeguarded root with exact first and second derivatives. Fresh flows are the identity.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        num_layers: Number of layers.
        hidden_dims: Widths of the hidden layers of each masked network.
        num_signals: Number of signals from the earlier coordinates to each integrand.
        integrand_dims: Widths of the hidden layers of the integrand of each layer.
        num_nodes: Nodes of the quadrature.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Wehenkel and Louppe, Unconstrained Monotonic Neural Networks, NeurIPS 2019.
        https://arxiv.org/abs/1908.05164
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        num_layers: int = 2,
        hidden_dims: Sequence[int] = (128, 128),
        num_signals: int = 8,
        integrand_dims: Sequence[int] = (32, 32),
        num_nodes: int = 32,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            input_dim,
            MonotoneIntegral(torch.tanh, num_signals, num_nodes=num_nodes),
            "data",
            context_dim,
            num_layers=num_layers,
            hidden_dims=hidden_dims,
            support=support,
            name=name,
        )
        self.integrands = nn.ModuleList(
            MLP(1 + num_signals, 1, integrand_dims, activation=nn.SiLU, zero_last=True)
            for _ in range(num_layers)
        )

    def functions(self) -> list[Elementwise]:
        """The family of each layer, with the integrand of the layer."""
        return [self.elementwise.of(net.columns) for net in self.integrands]  # type: ignore[attr-defined]
