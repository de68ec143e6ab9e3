"""Multi-scale flows: some channels are done early, the others go through further layers."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.transforms.bijection import Bijection
from pyro_dgm.transforms.squeeze import IMAGE

__all__ = ["FactorOut"]


class FactorOut(Bijection):
    r"""Leaves the first channels of an image as they are and sends the others through a bijection.

    .. math:: y_a = x_a, \qquad y_b = g(x_b)

    Seen from the data, the first channels are latents already: with a base of independent entries they are
    scored at this scale, and only the others are refined. The latent keeps the shape of the image, so that a
    multi-scale flow is a bijection like any other.

    Args:
        rest: The bijection of the other channels, which keeps their shape.
        num_out: Number of the first channels, which are factored out.

    Shape:
        ``x`` and ``y``: ``(*batch, C, H, W)``. Log-determinant: ``(*batch,)``, in nats.

    Reference:
        Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, section 3.6.
        https://arxiv.org/abs/1605.08803
    """

    domain = IMAGE
    codomain = IMAGE

    def __init__(self, rest: Bijection, num_out: int) -> None:
        super().__init__()
        self.rest, self.num_out = rest, num_out

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Send the other channels to the data side."""
        out, others = x.tensor_split((self.num_out,), dim=-3)
        others, ladj = self.rest.call_and_ladj(others)
        return _beside(out, others), ladj

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Send the other channels to the base side."""
        out, others = y.tensor_split((self.num_out,), dim=-3)
        others, ladj = self.rest.inverse_and_ladj(others)
        return _beside(out, others), ladj


def _beside(out: Tensor, others: Tensor) -> Tensor:
    # The batch grows where a context of the rest has a larger one.
    return torch.cat((out.expand(*others.shape[:-3], *out.shape[-3:]), others), dim=-3)
