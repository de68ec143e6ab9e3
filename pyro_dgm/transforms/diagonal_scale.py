"""A scale for each coordinate."""

from __future__ import annotations

from torch import Tensor

from pyro_dgm.transforms.bijection import Bijection

__all__ = ["DiagonalScale"]


class DiagonalScale(Bijection):
    r"""Multiplies each coordinate: :math:`y = e^s \odot x`, log-determinant :math:`\sum_i s_i`.

    Args:
        log_scale: The log-scales :math:`s`, of shape ``(*batch, D)``.

    Reference:
        Dinh, Krueger and Bengio, NICE, ICLR 2015 workshop, section 3.3. https://arxiv.org/abs/1410.8516
    """

    def __init__(self, log_scale: Tensor) -> None:
        super().__init__()
        self.log_scale = log_scale

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Multiply."""
        y = x * self.log_scale.exp()
        return y, self.log_scale.sum(-1).expand(y.shape[:-1])

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Divide."""
        x = y * (-self.log_scale).exp()
        return x, -self.log_scale.sum(-1).expand(x.shape[:-1])
