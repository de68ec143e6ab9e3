"""Autoregressive layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from pyro_dgm.eager import is_eager
from pyro_dgm.transforms.by_hand import Network, no_network
from pyro_dgm.transforms.columns import ColumnBijection
from pyro_dgm.transforms.elementwise import Elementwise
from pyro_dgm.transforms.one_node import Step

__all__ = ["Autoregressive", "MaskedConditioner"]


class MaskedConditioner(Protocol):
    """A network whose outputs for a coordinate see the earlier ones alone, such as ``nets.MaskedMLP``."""

    def __call__(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Return parameters ``(P * D, N)`` of whole vectors ``(D, N)``."""

    def solve(self, value: Tensor, step: object, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Find vectors one coordinate at a time, each by ``step`` from its value and parameters."""


class Autoregressive(ColumnBijection):
    r"""Changes every entry with a function that the entries before it choose.

    .. math:: y_i = f(x_i; \theta(y_{<i})) \quad\text{(reads the data)}, \qquad
              y_i = f(x_i; \theta(x_{<i})) \quad\text{(reads the latent)}

    Reading the data makes the density cheap, one pass of the conditioner, and a draw sequential; reading the
    latent makes draws cheap and the density of foreign data sequential. The sequential direction computes
    each hidden unit once.

    Args:
        conditioner: The masked network.
        elementwise: The family of functions :math:`f`.
        reads: The side that the conditioner reads, ``"data"`` or ``"latent"``.
        by_hand: Gives the conditioner with its derivatives written out, or None where it has no such.

    Reference:
        Papamakarios, Pavlakou and Murray, Masked Autoregressive Flow for Density Estimation, NeurIPS 2017
        (reads the data). https://arxiv.org/abs/1705.07057
        Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, NeurIPS 2016 (reads
        the latent). https://arxiv.org/abs/1606.04934
    """

    def __init__(
        self,
        conditioner: MaskedConditioner,
        elementwise: Elementwise,
        reads: Literal["data", "latent"],
        *,
        by_hand: Callable[[], Network | None] = no_network,
    ) -> None:
        self.conditioner, self.elementwise, self.reads = conditioner, elementwise, reads
        self.by_hand = by_hand

    def call(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map latents to data."""
        if self.reads == "data":
            return self.conditioner.solve(x, self._step(x, back=False), context)
        y, log_slope = self.elementwise.call(x, self._parameters(x, context))
        return y, log_slope.sum(0)

    def inverse(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map data to latents."""
        if self.reads == "latent":
            return self.conditioner.solve(y, self._step(y, back=True), context)
        x, log_slope = self.elementwise.inverse(y, self._parameters(y, context))
        return x, log_slope.sum(0)

    def steps(self, size: int, *, back: bool) -> tuple[list[int], list[Step]] | None:
        """The direction of one pass as a step, if conditioner and functions have derivatives written out."""
        if back != (self.reads == "data"):
            return None
        functions, network = self.elementwise.by_hand(back=back), self.by_hand()
        if functions is None or network is None:
            return None
        return [size], [Step(network, self.elementwise, functions, back, 0, 0)]

    def _step(self, columns: Tensor, *, back: bool) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """What is done to one coordinate, given its parameters ``(P, N)``."""
        without_graph = not torch.is_grad_enabled() and is_eager(columns)
        by_hand = self.elementwise.by_hand(back=back) if without_graph else None
        if by_hand is None:
            return self.elementwise.inverse if back else self.elementwise.call
        values = by_hand.values
        return lambda value, parameters: values(value, parameters)[:2]

    def _parameters(self, columns: Tensor, context: Tensor | None) -> Tensor:
        return self.conditioner(columns, context).view(self.elementwise.num_parameters, *columns.shape)
