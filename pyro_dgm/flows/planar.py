"""Planar flow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint

from pyro_dgm.flows.flow import Flow
from pyro_dgm.nets import LayerParameters
from pyro_dgm.transforms import Bijection, PlanarTransform

__all__ = ["Planar"]


class Planar(Flow):
    """Layers that each bend space along one direction; made for posteriors, and able to score data.

    Sampling is closed form, a few operations a layer. A density of foreign data solves one scalar equation a
    layer and row. Fresh flows are the identity.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none. The context shifts all parameters.
        num_layers: Number of layers; each adds one hidden unit's worth of flexibility, so many are needed.
        hidden_dims: Widths of the hidden layers of the network that reads the context.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Rezende and Mohamed, Variational Inference with Normalizing Flows, ICML 2015, section 4.1.
        https://arxiv.org/abs/1505.05770

    Example:
        >>> import torch
        >>> flow = Planar(2, num_layers=8)
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
            raise ValueError(f"Planar needs num_layers >= 1, but got {num_layers}.")
        w = torch.randn(num_layers, size)
        # The constraint makes softplus(w.u) - 1 of w.u: zero, the identity, at w.u = log(e - 1).
        u = math.log(math.e - 1) * w / w.square().sum(-1, keepdim=True)
        b = torch.randn(num_layers, 1)
        self.parameters_of_layers = LayerParameters(torch.cat((u, w, b), -1), context_dim, hidden_dims)

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the stack of layers, given a ``context`` of shape ``(*batch, C)``."""
        u, w, b = self.parameters_of_layers(context).split((self.latent_dim, self.latent_dim, 1), dim=-1)
        return PlanarTransform(u, w, b.squeeze(-1))
