"""NICE: additive couplings and one diagonal scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions.constraints import Constraint

from pyro_dgm.distributions import StandardBase, StandardLogistic
from pyro_dgm.flows.flow import Flow
from pyro_dgm.nets import MLP
from pyro_dgm.transforms import Additive, Bijection, ColumnStack, Composed, Coupling, Couplings, DiagonalScale

__all__ = ["NICE"]


class NICE(Flow):
    """Couplings that only shift, so that each keeps volumes, and one learned scale for each coordinate.

    Both directions cost one pass of each conditioner. Fresh flows are the identity.

    Args:
        input_dim: Size ``D`` of the data vectors, at least two.
        context_dim: Size of the conditioning vector; zero for none.
        num_layers: Number of couplings, at least three, so that each coordinate can depend on each other.
        hidden_dims: Widths of the hidden layers of each conditioner.
        base: ``"normal"``, or ``"logistic"`` as in the paper's experiments.
        scale: Whether the diagonal scale is there; without it the flow keeps volumes.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Dinh, Krueger and Bengio, NICE: Non-linear Independent Components Estimation, ICLR 2015 workshop.
        https://arxiv.org/abs/1410.8516

    Example:
        >>> import torch
        >>> NICE(3, base="logistic")().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        num_layers: int = 4,
        hidden_dims: Sequence[int] = (128, 128),
        base: Literal["normal", "logistic"] = "normal",
        scale: bool = True,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, context_dim, support=support, name=name)
        size = self.latent_dim
        if num_layers < 3:
            raise ValueError(
                "NICE needs num_layers >= 3 (with fewer couplings some coordinates never depend on others), "
                f"but got num_layers={num_layers}."
            )
        if base not in ("normal", "logistic"):
            raise ValueError(f"the base of NICE is 'normal' or 'logistic', but got {base!r}.")
        self.split, self.base_name = size // 2, base
        # With one coordinate there is nothing to keep: every layer changes it.
        self.turns = [bool(i % 2) and size > 1 for i in range(num_layers)]
        left, right = self.split, size - self.split
        sizes = [(right, left) if change_left else (left, right) for change_left in self.turns]
        self.conditioners = nn.ModuleList(
            MLP(kept, changed, hidden_dims, context_dim=context_dim, zero_last=True)
            for kept, changed in sizes
        )
        self.scale = _LogScale(size) if scale else None

    def base(self, context: Tensor | None = None) -> StandardBase:
        """Return the latent's distribution, with the batch shape of the context."""
        if self.base_name == "normal":
            return super().base(context)
        return StandardLogistic(self.origin, () if context is None else context.shape[:-1])

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return couplings and scale, given a ``context`` of shape ``(*batch, C)``."""
        couplings = ColumnStack(
            [
                Couplings(
                    [
                        Coupling(net.columns, Additive(), self.split, change_upper=change_left)  # type: ignore[arg-type]
                        for net, change_left in zip(self.conditioners, self.turns, strict=True)
                    ]
                )
            ],
            context,
        )
        return couplings if self.scale is None else Composed([couplings, DiagonalScale(self.scale())])


class _LogScale(nn.Module):
    """The log-scales, in a module of their own so that freezing holds them still."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(size))

    def forward(self) -> Tensor:
        return self.values
