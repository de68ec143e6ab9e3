"""What the autoregressive flows share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.distributions.constraints import Constraint

from pyro_dgm.flows.flow import Flow
from pyro_dgm.nets import MaskedMLP
from pyro_dgm.transforms import Autoregressive, Bijection, ColumnStack, Elementwise

__all__ = ["AutoregressiveFlow"]


class AutoregressiveFlow(Flow):
    """A stack of autoregressive layers, whose order of the coordinates turns round from layer to layer.

    Args:
        input_dim: Size ``D`` of the data vectors.
        elementwise: What each layer does to each entry.
        reads: The side that the conditioners read: ``"data"`` makes densities cheap, ``"latent"`` draws.
        context_dim: Size of the conditioning vector; zero for none.
        num_layers: Number of layers.
        hidden_dims: Widths of the hidden layers of each masked network.
        innermost: What one more layer, the nearest to the base, does to each entry; no such layer by default.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.
    """

    def __init__(
        self,
        input_dim: int,
        elementwise: Elementwise,
        reads: Literal["data", "latent"],
        context_dim: int = 0,
        *,
        num_layers: int,
        hidden_dims: Sequence[int],
        innermost: Elementwise | None = None,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, context_dim, support=support, name=name)
        size = self.latent_dim
        least = 1 if innermost is None else 0
        if num_layers < least:
            raise ValueError(f"{type(self).__name__} needs num_layers >= {least}, but got {num_layers}.")
        self.elementwise, self.reads, self.innermost = elementwise, reads, innermost
        self.num_layers = num_layers
        self.conditioners = nn.ModuleList(
            MaskedMLP(
                size,
                family.num_parameters,
                hidden_dims,
                context_dim=context_dim,
                reverse=bool(layer % 2),
                initial=family.identity(),
            )
            for layer, family in enumerate(AutoregressiveFlow.functions(self))
        )

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the stack of layers, given a ``context`` of shape ``(*batch, C)``."""
        return ColumnStack(
            [
                Autoregressive(net, function, self.reads, by_hand=net.by_hand)  # type: ignore[arg-type]
                for net, function in zip(self.conditioners, self.functions(), strict=True)
            ],
            context,
        )

    def functions(self) -> list[Elementwise]:
        """What each layer does to each entry, from the base side to the data side."""
        innermost = [] if self.innermost is None else [self.innermost]
        return innermost + [self.elementwise] * self.num_layers
