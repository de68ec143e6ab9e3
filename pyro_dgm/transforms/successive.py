"""Increasing functions of one variable after one another."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.transforms.elementwise import Elementwise

__all__ = ["Successive"]


class Successive(Elementwise):
    """One family of increasing functions, then another one, with the parameters of both.

    A spline is the identity beyond its interval; followed by an affine map it moves the tails too.

    Args:
        first: The family nearer to the base.
        second: The family nearer to the data.
    """

    def __init__(self, first: Elementwise, second: Elementwise) -> None:
        self.first, self.second = first, second
        self.num_parameters = first.num_parameters + second.num_parameters

    def call(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the first, then the second."""
        own = self.first.num_parameters
        middle, slope = self.first.call(x, parameters[:own])
        y, more = self.second.call(middle, parameters[own:])
        return y, slope + more

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the second, then the first."""
        own = self.first.num_parameters
        middle, slope = self.second.inverse(y, parameters[own:])
        x, more = self.first.inverse(middle, parameters[:own])
        return x, slope + more

    def identity(self) -> Tensor:
        """The parameters of both identities."""
        return torch.cat((self.first.identity(), self.second.identity()))
