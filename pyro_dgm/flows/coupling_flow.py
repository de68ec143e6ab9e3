"""Couplings with any family of increasing functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions.constraints import Constraint

from pyro_dgm.flows.flow import Flow
from pyro_dgm.nets import MLP
from pyro_dgm.transforms import Bijection, ColumnStack, Coupling, Couplings, Elementwise

__all__ = ["CouplingFlow"]


class CouplingFlow(Flow):
    """A stack of couplings: one half of the vector chooses increasing functions of the other, in turn.

    Both directions cost one pass of each conditioner; with a family that is solved one way, such as
    ``Bernstein`` or ``SumOfSquares``, a draw adds one scalar equation an entry, all solved together.

    Args:
        input_dim: Size ``D`` of the data vectors.
        elementwise: What each layer does to each entry that it changes.
        context_dim: Size of the conditioning vector; zero for none.
        num_layers: Number of couplings.
        hidden_dims: Widths of the hidden layers of each conditioner.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Example:
        >>> from pyro_dgm.transforms import Bernstein
        >>> CouplingFlow(3, Bernstein())().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        input_dim: int,
        elementwise: Elementwise,
        context_dim: int = 0,
        *,
        num_layers: int = 6,
        hidden_dims: Sequence[int] = (128, 128),
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, context_dim, support=support, name=name)
        size = self.latent_dim
        if num_layers < 1:
            raise ValueError(f"{type(self).__name__} needs num_layers >= 1, but got {num_layers}.")
        self.elementwise, self.split = elementwise, size // 2
        # With one coordinate there is nothing to keep: every layer changes it.
        self.turns = [bool(i % 2) and size > 1 for i in range(num_layers)]
        left, right = self.split, size - self.split
        sizes = [(right, left) if change_left else (left, right) for change_left in self.turns]
        self.conditioners = nn.ModuleList(
            MLP(
                kept,
                elementwise.num_parameters * changed,
                hidden_dims,
                context_dim=context_dim,
                zero_last=True,
            )
            for kept, changed in sizes
        )
        with torch.no_grad():
            for net, (_, changed) in zip(self.conditioners, sizes, strict=True):
                net.layers[-1].bias.copy_(elementwise.identity().repeat_interleave(changed))  # type: ignore[union-attr, index]

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the stack of couplings, given a ``context`` of shape ``(*batch, C)``."""
        return ColumnStack(
            [
                Couplings(
                    [
                        Coupling(
                            net.columns,  # type: ignore[arg-type]
                            self.elementwise,
                            self.split,
                            change_upper=change_left,
                            by_hand=net.by_hand,  # type: ignore[arg-type]
                        )
                        for net, change_left in zip(self.conditioners, self.turns, strict=True)
                    ]
                )
            ],
            context,
        )
