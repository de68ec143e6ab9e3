"""Radial flow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint
from torch.nn.functional import softplus

from pyro_dgm.flows.flow import Flow
from pyro_dgm.nets import LayerParameters
from pyro_dgm.transforms import Bijection, RadialTransform

__all__ = ["Radial"]


class Radial(Flow):
    r"""Layers that each contract or expand space around a centre, closed form in both directions.

    The widths are :math:`\alpha = \mathrm{softplus}(a)` and :math:`\alpha + \beta = \mathrm{softplus}(c)`,
    which keeps every layer bijective. Fresh flows are the identity.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none. The context shifts all parameters.
        num_layers: Number of layers.
        hidden_dims: Widths of the hidden layers of the network that reads the context.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Rezende and Mohamed, Variational Inference with Normalizing Flows, ICML 2015, section 4.1.
        https://arxiv.org/abs/1505.05770

    Example:
        >>> import torch
        >>> flow = Radial(2, num_layers=8)
        >>> flow().log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        num_layers: int = 16,
        hidden_dims: Sequence[int] = (64,),
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, context_dim, support=support, name=name)
        size = self.latent_dim
        if num_layers < 1:
            raise ValueError(f"Radial needs num_layers >= 1, but got {num_layers}.")
        centre, widths = torch.randn(num_layers, size), torch.zeros(num_layers, 2)
        self.parameters_of_layers = LayerParameters(torch.cat((centre, widths), -1), context_dim, hidden_dims)

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the stack of layers, given a ``context`` of shape ``(*batch, C)``."""
        parameters = self.parameters_of_layers(context)
        alpha, total = softplus(parameters[..., -2:]).unbind(-1)
        return RadialTransform(parameters[..., :-2], alpha, total)
