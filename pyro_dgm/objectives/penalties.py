"""Terms added to a critic's loss that keep its slope in bounds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pyro_dgm.objectives.regulariser import Penalty, Regulariser, Round, Score, warn_if_rows_mix

__all__ = ["R1", "R2", "CriticPenalty", "GradientPenalty", "Penalty", "interpolates", "slope_at"]


class CriticPenalty(Regulariser):
    """A penalty of the critic's slope: a term of its loss, and a check that the critic has a slope.

    Args:
        weight: The factor of the term.
        every: Add the term, times ``every``, at each so many updates of the critic only: nearly the same
            regulariser at a fraction of its cost.

    Reference:
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020 (lazy regularisation).
        https://arxiv.org/abs/1912.04958
    """

    def __init__(self, weight: float, *, every: int = 1) -> None:
        if weight < 0 or every < 1:
            raise ValueError(
                f"{type(self).__name__} needs weight >= 0 and every >= 1, got weight={weight}, every={every}."
            )
        self.weight, self.every, self.updates = weight, every, 0

    def __call__(self, score: Score, real: Tensor, fake: Tensor) -> Penalty:
        """Return the term, given the critic as a function of rows and both batches ``(n, *event)``."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(score, real, fake)")

    def critic_term(self, move: Round) -> Penalty | None:
        """Return the term of this update, or None where it rests."""
        if self.updates % self.every:
            return None
        loss, slope = self(move.score, move.real, move.fake)
        return Penalty(self.every * loss, slope)

    def after_step(self, model: nn.Module, critic: nn.Module) -> None:
        """Count the updates; a look ahead is none."""
        self.updates += 1

    def check(self, critic: nn.Module) -> None:
        """Warn if the critic mixes rows, as batch normalisation does: it has no slope at a row."""
        warn_if_rows_mix(critic, "a gradient penalty")

    def state_dict(self) -> dict[str, Any]:
        """Return the number of updates."""
        return {"updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a number of updates."""
        self.updates = state["updates"]


class GradientPenalty(CriticPenalty):
    r"""Pulls the critic's slope to 1 between real and generated rows.

    .. math:: \lambda \, E \bigl(\lVert \nabla f(\hat x) \rVert_2 - 1\bigr)^2, \qquad
        \hat x_i = \epsilon_i x_i + (1 - \epsilon_i) g(z_i), \quad \epsilon_i \sim U(0, 1)

    One epsilon per row, and the norm over all entries of a row. A critic that mixes rows, as batch
    normalisation does, has no slope at a row: a warning says so.

    Args:
        weight: The factor lambda.
        target: The wanted slope; zero gives the zero-centred penalty on interpolates.
        one_sided: Penalise only slopes above the target.
        every: Take the term, times ``every``, at each so many updates only.

    Reference:
        Gulrajani et al., Improved Training of Wasserstein GANs, NeurIPS 2017.
        https://arxiv.org/abs/1704.00028
        Petzka, Fischer and Lukovnicov, On the regularization of Wasserstein GANs, ICLR 2018 (one-sided).
        https://arxiv.org/abs/1709.08894
        Thanh-Tung, Tran and Venkatesh, Improving Generalization and Stability of Generative Adversarial
        Networks, ICLR 2019 (zero-centred). https://arxiv.org/abs/1902.03984

    Example:
        >>> critic = lambda x: x @ torch.tensor([0.3, 0.4])  # of slope 0.5 everywhere
        >>> GradientPenalty(10.0)(critic, torch.randn(4, 2), torch.randn(4, 2)).loss
        tensor(2.5000)
    """

    def __init__(
        self, weight: float = 10.0, *, target: float = 1.0, one_sided: bool = False, every: int = 1
    ) -> None:
        if weight < 0 or target < 0:
            raise ValueError(
                f"GradientPenalty needs weight >= 0 and target >= 0, got weight={weight}, target={target}."
            )
        super().__init__(weight, every=every)
        self.target, self.one_sided = target, one_sided

    def __call__(self, score: Score, real: Tensor, fake: Tensor) -> Penalty:
        """Return the penalty at one random point between each pair of rows."""
        with torch.enable_grad():  # the slope is needed, and is a gradient, in evaluation too
            slope = slope_at(score, self.points(real, fake))
            excess = slope - self.target
            excess = excess.relu() if self.one_sided else excess
            return Penalty(self.weight * excess.square().mean(), slope.detach().max())

    def points(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return where the slope is looked at: one point for each row."""
        return interpolates(real, fake)

    def __repr__(self) -> str:
        sided = ", one_sided=True" if self.one_sided else ""
        return f"GradientPenalty({self.weight}, target={self.target}{sided})"


class R1(CriticPenalty):
    r"""Flattens the critic at the data, and so lets the game settle there.

    .. math:: \frac{\gamma}{2} \, E_{x \sim p} \lVert \nabla f(x) \rVert_2^2

    Args:
        weight: The factor gamma.
        every: Take the term, times ``every``, at each so many updates only.

    Reference:
        Mescheder, Geiger and Nowozin, Which Training Methods for GANs do actually Converge?, ICML 2018.
        https://arxiv.org/abs/1801.04406

    Example:
        >>> critic = lambda x: x @ torch.tensor([0.3, 0.4])  # of slope 0.5 everywhere
        >>> R1(8.0)(critic, torch.randn(4, 2), torch.randn(4, 2)).loss
        tensor(1.)
    """

    def __init__(self, weight: float = 10.0, *, every: int = 1) -> None:
        super().__init__(weight, every=every)

    def __call__(self, score: Score, real: Tensor, fake: Tensor) -> Penalty:
        """Return the penalty at the rows that it looks at."""
        with torch.enable_grad():
            slope = slope_at(score, self.rows(real, fake))
            return Penalty(0.5 * self.weight * slope.square().mean(), slope.detach().max())

    def rows(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return where the slope is looked at: the data."""
        return real

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.weight})"


class R2(R1):
    r"""The penalty of :class:`R1` at generated rows instead of the data.

    .. math:: \frac{\gamma}{2} \, E \lVert \nabla f(g(z)) \rVert_2^2
    """

    def rows(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return where the slope is looked at: the generated rows."""
        return fake


def interpolates(real: Tensor, fake: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return one uniformly random point between each real row and the generated row beside it."""
    shape = (len(real), *(1,) * (real.dim() - 1))
    epsilon = torch.rand(shape, dtype=real.dtype, device=real.device, generator=generator)
    return torch.lerp(fake, real, epsilon)


def slope_at(score: Score, points: Tensor) -> Tensor:
    """Return the gradient norm of ``score`` at each row of ``points``, itself differentiable."""
    points = points.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(points).sum(), points, create_graph=True)
    slope: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return slope
