"""Sylvester flow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint

from pyro_dgm.flows.flow import Flow
from pyro_dgm.nets import LayerParameters
from pyro_dgm.transforms import Bijection, SylvesterTransform

__all__ = ["Sylvester"]

_MOST = 0.99  # of the diagonals, so that their products stay away from -1 in every precision


class Sylvester(Flow):
    """Layers that each bend space along several directions; planar layers of more than one hidden unit.

    Sampling is closed form. A density of foreign data solves ``num_units`` scalar equations a layer and row.
    Fresh flows are the identity.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none. The context shifts all parameters.
        num_layers: Number of layers.
        num_units: Number ``M`` of directions of a layer, at most ``D``; by default ``D``.
        num_reflections: Number of Householder reflections that turn the directions.
        hidden_dims: Widths of the hidden layers of the network that reads the context.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Van den Berg, Hasenclever, Tomczak and Welling, Sylvester Normalizing Flows for Variational Inference,
        UAI 2018. https://arxiv.org/abs/1803.05649

    Example:
        >>> flow = Sylvester(3, num_layers=4)
        >>> flow().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        num_layers: int = 8,
        num_units: int | None = None,
        num_reflections: int = 4,
        hidden_dims: Sequence[int] = (64,),
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, context_dim, support=support, name=name)
        size = self.latent_dim
        units = size if num_units is None else num_units
        if num_layers < 1 or num_reflections < 1 or not 1 <= units <= size:
            raise ValueError(
                f"Sylvester needs num_layers >= 1, num_reflections >= 1 and 1 <= num_units <= {size}, but "
                f"got {num_layers=}, {num_reflections=} and num_units={units}."
            )
        # Reflections, one square for both triangles, their diagonals, offsets.
        self.sizes = (num_reflections * size, units * units, units, units, units)
        self.units = units
        matrices = torch.randn(num_layers, units, units) / units**0.5
        initial = torch.cat(
            (
                torch.randn(num_layers, num_reflections * size),
                matrices.tril(-1).flatten(1),  # the triangle above, R, starts at zero: the identity
                torch.zeros(num_layers, units),
                torch.ones(num_layers, units),
                torch.randn(num_layers, units),
            ),
            -1,
        )
        self.parameters_of_layers = LayerParameters(initial, context_dim, hidden_dims)

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the stack of layers, given a ``context`` of shape ``(*batch, C)``."""
        parameters = self.parameters_of_layers(context)
        reflections, square, diagonal, diagonal_tilde, b = parameters.split(self.sizes, -1)
        square = square.unflatten(-1, (self.units, self.units))
        return SylvesterTransform(
            reflections.unflatten(-1, (-1, self.latent_dim)),
            square.triu(1) + torch.diag_embed(_MOST * torch.tanh(diagonal)),
            square.mT.triu(1) + torch.diag_embed(_MOST * torch.tanh(diagonal_tilde)),
            b,
        )
