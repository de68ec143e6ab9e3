"""Autoregressive layers."""

from __future__ import annotations

from typing import Literal, Protocol

from torch import Tensor

from pyro_dgm.transforms.columns import ColumnBijection
from pyro_dgm.transforms.elementwise import Elementwise

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

    Reference:
        Papamakarios, Pavlakou and Murray, Masked Autoregressive Flow for Density Estimation, NeurIPS 2017
        (reads the data). https://arxiv.org/abs/1705.07057
        Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, NeurIPS 2016 (reads
        the latent). https://arxiv.org/abs/1606.04934
    """

    def __init__(
        self, conditioner: MaskedConditioner, elementwise: Elementwise, reads: Literal["data", "latent"]
    ) -> None:
        self.conditioner, self.elementwise, self.reads = conditioner, elementwise, reads

    def call(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map latents to data."""
        if self.reads == "data":
            return self.conditioner.solve(x, self.elementwise.call, context)
        y, log_slope = self.elementwise.call(x, self._parameters(x, context))
        return y, log_slope.sum(0)

    def inverse(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map data to latents."""
        if self.reads == "latent":
            return self.conditioner.solve(y, self.elementwise.inverse, context)
        x, log_slope = self.elementwise.inverse(y, self._parameters(y, context))
        return x, log_slope.sum(0)

    def _parameters(self, columns: Tensor, context: Tensor | None) -> Tensor:
        return self.conditioner(columns, context).view(self.elementwise.num_parameters, *columns.shape)
