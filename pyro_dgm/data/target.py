"""Two-dimensional targets: samples without end, exact log-density, exact entropy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pyro_dgm.distributions.gaussian_ring import GaussianRing
from pyro_dgm.distributions.known_density import KnownDensity
from pyro_dgm.distributions.two_moons import TwoMoons
from pyro_dgm.distributions.uniform_on_boxes import Interval, UniformOnBoxes
from pyro_dgm.errors import ShapeError

__all__ = ["Target2D", "checkerboard", "eight_gaussians", "two_moons", "uniform_square"]


@dataclass(frozen=True)
class Target2D:
    r"""A two-dimensional data set that is known completely.

    The negative log-likelihood of any model on fresh samples is at least the entropy, in expectation:

    .. math:: J_{ML} = H(X) + KL(p_X \,\|\, p_\theta) \geq H(X)

    so that every figure of a model has its floor beside it.

    Attributes:
        name: What to print beside a figure, options included.
        distribution: The distribution itself, for use in a Pyro model.
        window: The part of the plane to look at, ``((x_low, x_high), (y_low, y_high))``.

    Example:
        >>> moons = two_moons(noise=0.05)
        >>> x = moons.sample(1000, seed=0)
        >>> x.shape, moons.log_prob(x).shape, round(moons.entropy, 4)
        (torch.Size([1000, 2]), torch.Size([1000]), 0.2892)
    """

    name: str
    distribution: KnownDensity
    window: tuple[Interval, Interval]

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one row."""
        return self.distribution.event_shape

    @cached_property
    def entropy(self) -> float:
        """The differential entropy H(X) in nats, computed at the first request."""
        return self.distribution.entropy_in_nats()

    def sample(self, n: int, seed: int | None = None) -> Tensor:
        """Draw independent rows.

        Args:
            n: Number of rows.
            seed: Seed of this draw, which then leaves the global random state as it was. By default the
                rows come from the global state, and are new at each call.

        Returns:
            Rows of shape ``(n, 2)`` in torch's default dtype.
        """
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return self.distribution.draw(n, generator).to(torch.get_default_dtype())

    def log_prob(self, x: Tensor) -> Tensor:
        r"""The exact log-density in nats; :math:`-\infty` outside the support.

        Args:
            x: Points of shape ``(*batch, 2)``. Whatever its dtype, the density is computed in double
                precision.

        Returns:
            A tensor of shape ``(*batch,)`` and the dtype of ``x``.

        Raises:
            ShapeError: If the points are not pairs.
        """
        if x.dim() < 1 or x.shape[-1] != 2:
            raise ShapeError(
                f"{self.name} is a density on the plane: expected points of shape (*batch, 2), got "
                f"{tuple(x.shape)}."
            )
        return self.distribution.log_prob(x)


def two_moons(noise: float = 0.05) -> Target2D:
    """Two interleaving half circles, with independent points.

    Args:
        noise: Standard deviation of the Gaussian noise around the arcs. The entropy is 0.2892, 1.0076 and
            1.6775 nats at noise 0.05, 0.1 and 0.2.

    Raises:
        DataError: If the noise is not positive and finite.
    """
    distribution = TwoMoons(noise, validate_args=False)
    # a square, so that both axes can have one scale, 4 standard deviations beyond the arcs
    half = 1.5 + 4 * distribution.noise
    window = ((0.5 - half, 0.5 + half), (0.25 - half, 0.25 + half))
    return Target2D(f"moons(noise={distribution.noise:g})", distribution, window)


def uniform_square() -> Target2D:
    """The uniform distribution on the square [1, 2] x [1, 2], of entropy 0."""
    distribution = UniformOnBoxes([((1.0, 2.0), (1.0, 2.0))], validate_args=False)
    return Target2D("uniform-square", distribution, ((-1.0, 3.0), (-1.0, 3.0)))


def eight_gaussians() -> Target2D:
    """Eight Gaussians of standard deviation 0.354 on a circle of radius 2.83, of entropy 2.8319 nats.

    Reference:
        Grathwohl et al., FFJORD, ICLR 2019, whose generator divides radius 4 and deviation 0.5 by 1.414.
        https://arxiv.org/abs/1810.01367
    """
    distribution = GaussianRing(8, radius=4 / 1.414, sd=0.5 / 1.414, validate_args=False)
    return Target2D("8gaussians", distribution, ((-4.5, 4.5), (-4.5, 4.5)))


def checkerboard() -> Target2D:
    """The uniform distribution on the eight dark squares of side 2 in [-4, 4] x [-4, 4]: entropy log 32.

    Reference:
        Grathwohl et al., FFJORD, ICLR 2019. https://arxiv.org/abs/1810.01367
    """
    corners = (-4.0, -2.0, 0.0, 2.0)
    dark = [
        ((x, x + 2), (y, y + 2))
        for i, x in enumerate(corners)
        for j, y in enumerate(corners)
        if (i + j) % 2 == 0
    ]
    return Target2D("checkerboard", UniformOnBoxes(dark, validate_args=False), ((-4.5, 4.5), (-4.5, 4.5)))
