"""The two moons, with their exact density."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from pyro_dgm.arguments import real_number
from pyro_dgm.distributions.known_density import KnownDensity
from pyro_dgm.errors import DataError

__all__ = ["TwoMoons"]

# Ranges of integration end where the integrand has fallen by exp(-40), 4e-18 of its peak. On such a range
# 32 Gauss-Legendre nodes integrate exp(-40 v^2) and exp(-40 v) to full double precision.
_DROP = 40.0
_NUM_NODES = 32


class TwoMoons(KnownDensity):
    r"""Two interleaving half circles with Gaussian noise.

    A fair coin picks the outer arc :math:`(\cos t, \sin t)` or the inner one
    :math:`(1 - \cos t, \tfrac12 - \sin t)`, ``t`` is uniform on :math:`[0, \pi]`, and the point gets noise
    :math:`N(0, s^2 I)`. In polar coordinates around an arc's centre the density of the arc is

    .. math:: \frac{1}{2 \pi^2 s^2} \, e^{-(r - 1)^2 / 2 s^2}
              \int_0^\pi e^{-(r / s^2) (1 - \cos(t - \varphi))} \, dt

    and the incomplete von Mises integral is done by Gauss-Legendre quadrature on the range where the
    integrand is not negligible, so that the cost does not depend on the noise and the relative error stays
    below 1e-10, far tails included. Unlike scikit-learn's ``make_moons``, which spaces ``t`` evenly, the
    points are independent.

    Args:
        noise: Standard deviation ``s`` of the noise.
        validate_args: Whether ``log_prob`` raises for NaN.

    Raises:
        DataError: If the noise is not positive and finite.

    Example:
        >>> round(TwoMoons(0.05).entropy().item(), 4)
        0.2892
    """

    def __init__(self, noise: float = 0.05, *, validate_args: bool | None = None) -> None:
        super().__init__(validate_args=validate_args)
        noise = real_number("noise of TwoMoons", noise)
        if not 0 < noise < math.inf:
            raise DataError(
                f"noise of TwoMoons must be positive and finite, but is {noise}: without noise the points "
                "lie on two curves and have no density."
            )
        self.noise = noise

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` independent points."""
        t = math.pi * torch.rand(n, dtype=torch.double, generator=generator)
        inner = torch.rand(n, 1, generator=generator) < 0.5
        arc = torch.stack([t.cos(), t.sin()], -1)
        points = torch.where(inner, self._swap(arc), arc)
        return points + self.noise * torch.randn(n, 2, dtype=torch.double, generator=generator)

    def log_density(self, x: Tensor) -> Tensor:
        """The log-density, in nats, of rows ``(n, 2)``."""
        both = torch.stack([self.log_density_of_outer(x), self.log_density_of_outer(self._swap(x))])
        return both.logsumexp(0) - math.log(2)

    def log_density_of_outer(self, x: Tensor) -> Tensor:
        """The log-density, in nats, of the outer moon alone at rows ``(n, 2)``."""
        # The moon is symmetric about the second axis, so that a step along the first one, away from the
        # centre, where the angle has no derivative, changes nothing.
        first = x[:, 0].abs() + (x == 0).all(-1) * 1e-12
        r, angle = torch.hypot(first, x[:, 1]), torch.atan2(x[:, 1], first)
        kappa = r / self.noise**2
        # From the nearest point of the arc to its two ends. Beside the arc the nearest point is an end, and
        # the range, which passes the point opposite to x, is split there and folded.
        above = angle > 0
        start_1, end_1 = torch.where(above, 0, -angle), torch.where(above, angle, math.pi)
        start_2, end_2 = torch.where(above, 0, math.pi + angle), torch.where(above, math.pi - angle, math.pi)
        fall_1, fall_2 = (2 * kappa * (start / 2).sin().square() for start in (start_1, start_2))
        far_side = (fall_1 - fall_2).exp() * _von_mises_integral(start_2, end_2, kappa)
        log_integral = (_von_mises_integral(start_1, end_1, kappa) + far_side).log() - fall_1
        log_radial = -(r - 1).square() / (2 * self.noise**2) - math.log(2 * (math.pi * self.noise) ** 2)
        return log_integral + log_radial

    def entropy_in_nats(self) -> float:
        """The entropy, by quadrature in polar coordinates (an error below 1e-6 nats)."""
        return _entropy(self.noise)

    @staticmethod
    def _swap(x: Tensor) -> Tensor:
        # The half turn about (1/2, 1/4), which carries each arc to the other.
        return x.new_tensor([1.0, 0.5]) - x


def _von_mises_integral(start: Tensor, end: Tensor, kappa: Tensor) -> Tensor:
    """Integral of exp(kappa (cos u - cos(start))) over ``start <= u <= end`` within [0, pi]."""
    nodes, weights = (t.to(kappa.device) for t in _gauss_legendre(_NUM_NODES))
    with torch.no_grad():  # nothing depends on where the negligible rest is cut off
        cut = 2 * ((start / 2).sin().square() + _DROP / (2 * kappa)).clamp(max=1).sqrt().asin()
    width = torch.minimum(end, cut) - start
    # the difference of the two cosines as a product: subtracting them would lose all digits
    u = width.unsqueeze(-1) * nodes
    fall = 2 * (start.unsqueeze(-1) + u / 2).sin() * (u / 2).sin()
    return width * ((-kappa.unsqueeze(-1) * fall).exp() @ weights)


@functools.lru_cache(maxsize=4)
def _gauss_legendre(num_nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss-Legendre quadrature on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


@functools.lru_cache(maxsize=64)
def _entropy(noise: float) -> float:
    # By the half turn, -E log p(x) is the same over both moons. Radius: Gauss-Legendre over 9 standard
    # deviations. Angle: trapezoidal rule with 4 steps per standard deviation, over the moon and 9 standard
    # deviations beyond its ends, or all round: it vanishes at both ends or is periodic.
    moons, reach = TwoMoons(noise), 9 * noise
    nodes, weights = _gauss_legendre(64)
    low = max(0.0, 1 - reach)
    r, r_weights = low + (1 + reach - low) * nodes, (1 + reach - low) * weights
    beyond = math.asin(min(1.0, reach))
    num_angles = math.ceil(4 * (math.pi + 2 * beyond) * (1 + reach) / noise)
    angle = torch.arange(num_angles, dtype=torch.double) * ((math.pi + 2 * beyond) / num_angles) - beyond
    total = 0.0
    for block in angle.split(128):
        x = torch.stack([r[:, None] * block.cos(), r[:, None] * block.sin()], -1).reshape(-1, 2)
        log_p = moons.log_density(x)
        p_log_p = (moons.log_density_of_outer(x).exp() * log_p).reshape(len(r), -1)
        total -= ((r * r_weights) @ p_log_p.sum(-1)).item()
    return total * (math.pi + 2 * beyond) / num_angles
