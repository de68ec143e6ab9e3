"""Terms added to a critic's loss that keep its slope in bounds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["CriticPenalty", "GradientPenalty", "Penalty"]

Score = Callable[[Tensor], Tensor]


class Penalty(NamedTuple):
    """A term of the critic's loss and what was seen on the way.

    Attributes:
        loss: The weighted term, a scalar.
        slope: The largest gradient norm found, a lower bound of the critic's Lipschitz constant.
    """

    loss: Tensor
    slope: Tensor


class CriticPenalty:
    """A regulariser of the critic: a term of its loss for each batch, and a check before training."""

    def __call__(self, score: Score, real: Tensor, fake: Tensor) -> Penalty:
        """Return the term, given the critic as a function of rows and both batches ``(n, *event)``."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(score, real, fake)")

    def check(self, critic: nn.Module) -> None:
        """Warn if this critic makes the term mean something else."""


class GradientPenalty(CriticPenalty):
    r"""Pulls the critic's slope to 1 between real and generated rows.

    .. math:: \lambda \, E \bigl(\lVert \nabla f(\hat x) \rVert_2 - 1\bigr)^2, \qquad
        \hat x_i = \epsilon_i x_i + (1 - \epsilon_i) g(z_i), \quad \epsilon_i \sim U(0, 1)

    One epsilon per row, and the norm over all entries of a row. A critic that mixes rows, as batch
    normalisation does, has no slope at a row: a warning says so.

    Args:
        weight: The factor lambda.
        target: The wanted slope; zero gives the zero-centred penalty.
        one_sided: Penalise only slopes above the target.

    Reference:
        Gulrajani et al., Improved Training of Wasserstein GANs, NeurIPS 2017.
        https://arxiv.org/abs/1704.00028
        Petzka, Fischer and Lukovnicov, On the regularization of Wasserstein GANs, ICLR 2018 (one-sided).
        https://arxiv.org/abs/1709.08894

    Example:
        >>> critic = lambda x: x @ torch.tensor([0.3, 0.4])  # of slope 0.5 everywhere
        >>> GradientPenalty(10.0)(critic, torch.randn(4, 2), torch.randn(4, 2)).loss
        tensor(2.5000)
    """

    def __init__(self, weight: float = 10.0, *, target: float = 1.0, one_sided: bool = False) -> None:
        if weight < 0 or target < 0:
            raise ValueError(
                f"GradientPenalty needs weight >= 0 and target >= 0, got weight={weight}, target={target}."
            )
        self.weight, self.target, self.one_sided = weight, target, one_sided

    def __call__(self, score: Score, real: Tensor, fake: Tensor) -> Penalty:
        """Return the penalty at one random point between each pair of rows."""
        with torch.enable_grad():  # the slope is needed, and is a gradient, in evaluation too
            slope = slope_at(score, self.points(real, fake))
            excess = slope - self.target
            excess = excess.relu() if self.one_sided else excess
            return Penalty(self.weight * excess.square().mean(), slope.detach().max())

    def points(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return where the slope is looked at: one point for each row."""
        epsilon = torch.rand(len(real), *(1,) * (real.dim() - 1), dtype=real.dtype, device=real.device)
        return torch.lerp(fake, real, epsilon)

    def check(self, critic: nn.Module) -> None:
        """Warn if the critic contains batch normalisation."""
        for name, part in critic.named_modules():
            if isinstance(part, _BatchNorm):
                warnings.warn(
                    f"the critic contains {type(part).__name__} ({name or 'itself'}), which mixes rows: "
                    "a gradient penalty then bounds nothing. Build it with norm=None, 'layer' or 'group'.",
                    UserWarning,
                    stacklevel=3,
                )
                return

    def __repr__(self) -> str:
        sided = ", one_sided=True" if self.one_sided else ""
        return f"GradientPenalty({self.weight}, target={self.target}{sided})"


def slope_at(score: Score, points: Tensor) -> Tensor:
    """Return the gradient norm of ``score`` at each row of ``points``, itself differentiable."""
    points = points.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(points).sum(), points, create_graph=True)
    slope: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return slope
