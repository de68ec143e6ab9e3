"""Coupling layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pyro_dgm.transforms.by_hand import Network, no_network
from pyro_dgm.transforms.columns import ColumnBijection
from pyro_dgm.transforms.elementwise import Elementwise
from pyro_dgm.transforms.one_node import Step

__all__ = ["Coupling", "Couplings"]

Conditioner = Callable[[Tensor, Tensor | None], Tensor]


class Coupling(ColumnBijection):
    r"""Changes one part of a vector entry by entry, with functions that the other part chooses.

    .. math:: y_a = x_a, \qquad y_b = f(x_b; \theta(x_a))

    The log-determinant is the sum of the log-slopes over the entries of the *changed* part alone. Both
    directions cost one pass of the conditioner.

    Args:
        conditioner: Maps the kept part ``(D_a, N)`` and the context ``(C, N)``, or None, to parameters
            ``(P * D_b, N)``: all entries' first parameter, then all second ones, and so on.
        elementwise: The family of functions :math:`f`, with ``P`` parameters.
        split: Size of the upper part.
        change_upper: Whether the upper part is the one that is changed; the lower one by default.
        by_hand: Gives the conditioner with its derivatives written out, or None where it has no such.

    Reference:
        Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, section 3.2.
        https://arxiv.org/abs/1605.08803
    """

    def __init__(
        self,
        conditioner: Conditioner,
        elementwise: Elementwise,
        split: int,
        *,
        change_upper: bool = False,
        by_hand: Callable[[], Network | None] = no_network,
    ) -> None:
        self.conditioner, self.elementwise, self.by_hand = conditioner, elementwise, by_hand
        self.split, self.change_upper = split, change_upper

    def call(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Change one part."""
        return Couplings([self]).call(x, context)

    def inverse(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Change it back."""
        return Couplings([self]).inverse(y, context)

    def steps(self, size: int, *, back: bool) -> tuple[list[int], list[Step]] | None:
        """The layer as a step, if there is one."""
        step = self.step(back=back)
        return None if step is None else ([self.split, size - self.split], [step])

    def step(self, *, back: bool) -> Step | None:
        """One direction, if conditioner and functions have derivatives written out."""
        functions, network = self.elementwise.by_hand(back=back), self.by_hand()
        if functions is None or network is None:
            return None
        changes = 0 if self.change_upper else 1
        return Step(network, self.elementwise, functions, back, 1 - changes, changes)

    def change(
        self, kept: Tensor, changed: Tensor, context: Tensor | None, *, back: bool
    ) -> tuple[Tensor, Tensor]:
        """Change one part, given both; return it with the log-slopes of its entries."""
        parameters = self.conditioner(kept, context).view(self.elementwise.num_parameters, *changed.shape)
        return (self.elementwise.inverse if back else self.elementwise.call)(changed, parameters)


class Couplings(ColumnBijection):
    """Coupling layers of one split after one another: vectors are split once, and joined once.

    Args:
        layers: The layers, from the base side to the data side.

    Raises:
        ValueError: If their splits differ.
    """

    def __init__(self, layers: Sequence[Coupling]) -> None:
        self.layers, self.split = tuple(layers), layers[0].split
        if any(layer.split != self.split for layer in layers):
            raise ValueError(f"all couplings must have one split, but got {[c.split for c in layers]}.")

    def call(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Apply the layers in order."""
        return self._through(x, context, self.layers, back=False)

    def inverse(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Undo the layers in reverse order."""
        return self._through(y, context, self.layers[::-1], back=True)

    def steps(self, size: int, *, back: bool) -> tuple[list[int], list[Step]] | None:
        """The layers as steps, if all are."""
        steps = []
        for layer in self.layers[::-1] if back else self.layers:
            step = layer.step(back=back)
            if step is None:
                return None
            steps.append(step)
        return [self.split, size - self.split], steps

    def _through(
        self, x: Tensor, context: Tensor | None, layers: Sequence[Coupling], *, back: bool
    ) -> tuple[Tensor, Tensor]:
        parts = list(x.split((self.split, len(x) - self.split)))
        slopes: dict[int, Tensor] = {}
        for layer in layers:
            i = 0 if layer.change_upper else 1
            parts[i], log_slope = layer.change(parts[1 - i], parts[i], context, back=back)
            slopes[i] = slopes[i] + log_slope if i in slopes else log_slope
        first, *second = [s.sum(0) if len(s) > 1 else s[0] for s in slopes.values()]
        return torch.cat(parts), first + second[0] if second else first
