"""Four energies on the plane: densities known up to a constant, for fitting by reverse KL."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Self

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from pyro_dgm.errors import UnknownNameError

__all__ = ["Energy"]

_WALL, _WALL_WIDTH = 4.0, 0.4


class Energy(TorchDistribution):
    r"""The density :math:`p(z) = e^{-U(z)} / Z` of one of the four test energies of planar flows.

    With :math:`w_1 = \sin(\pi z_1 / 2)`, :math:`w_2 = 3 e^{-((z_1 - 1) / 0.6)^2 / 2}` and
    :math:`w_3 = 3\,\mathrm{sigmoid}((z_1 - 1) / 0.3)`,

    .. math::
        U_1 &= \tfrac12 \left(\tfrac{\lVert z \rVert - 2}{0.4}\right)^2
               - \log\left(e^{-((z_1 - 2) / 0.6)^2 / 2} + e^{-((z_1 + 2) / 0.6)^2 / 2}\right) \\
        U_2 &= \tfrac12 \left(\tfrac{z_2 - w_1}{0.4}\right)^2 \\
        U_3 &= -\log\left(e^{-((z_2 - w_1) / 0.35)^2 / 2} + e^{-((z_2 - w_1 + w_2) / 0.35)^2 / 2}\right) \\
        U_4 &= -\log\left(e^{-((z_2 - w_1) / 0.4)^2 / 2} + e^{-((z_2 - w_1 + w_3) / 0.35)^2 / 2}\right)

    The paper shows them on the square of half side 4. As they stand, the last three do not fall off along
    :math:`z_1` and have no normaliser: here :math:`\tfrac12 ((|z_1| - 4)_+ / 0.4)^2` is added to all four.
    The normaliser is by quadrature, exact to about ten digits; there is no sampler.

    In a model, ``pyro.sample("z", Energy("U1"))`` with a flow as guide minimises the reverse KL divergence,
    and the ELBO is minus that divergence.

    Args:
        name: ``"U1"``, ``"U2"``, ``"U3"`` or ``"U4"``.
        validate_args: Whether values are checked; by default as Pyro's global setting says.

    Raises:
        UnknownNameError: For any other name.

    Reference:
        Rezende and Mohamed, Variational Inference with Normalizing Flows, ICML 2015, table 1.
        https://arxiv.org/abs/1505.05770

    Example:
        >>> Energy("U2").energy(torch.zeros(2))
        tensor(0.)
    """

    arg_constraints: dict[str, Any] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, name: str, *, validate_args: bool | None = None) -> None:
        if name not in _ENERGIES:
            raise UnknownNameError.of("energy", name, _ENERGIES)
        self.name = name
        super().__init__(torch.Size(), torch.Size([2]), validate_args=validate_args)

    def energy(self, z: Tensor) -> Tensor:
        """The energy ``U(z)`` in nats, of shape ``(*batch,)`` for ``z`` of shape ``(*batch, 2)``."""
        beyond = (z[..., 0].abs() - _WALL).clamp(min=0) / _WALL_WIDTH
        return _ENERGIES[self.name](z) + 0.5 * beyond.square()

    @property
    def log_normaliser(self) -> float:
        """The logarithm of the integral of ``exp(-U)`` over the plane."""
        return _log_normaliser(self.name)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density in nats, normalised."""
        if self._validate_args and value.numel():
            self._validate_sample(value)
        log_prob = -self.energy(value) - self.log_normaliser
        return log_prob.expand(torch.broadcast_shapes(log_prob.shape, self.batch_shape))

    def expand(self, batch_shape: Any, _instance: None = None) -> Self:
        """Return the same density with another batch shape."""
        new = type(self)(self.name, validate_args=self._validate_args)
        new._batch_shape = torch.Size(batch_shape)
        return new

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """There is no sampler: fit a flow and draw from that, or run MCMC."""
        raise NotImplementedError(
            f"{self.name} is known by its energy alone. Fit a flow to it as a guide and sample the flow, or "
            "run NUTS on a model with this site from given initial values."
        )


def _bump(offset: Tensor, width: float) -> Tensor:
    return -0.5 * (offset / width).square()


def _ring(z: Tensor) -> Tensor:
    square = z.square().sum(-1)
    norm = torch.where(square > 0, square, 1e-24).sqrt()  # the norm has no derivative at the origin
    return -_bump(norm - 2, 0.4) - torch.logaddexp(_bump(z[..., 0] - 2, 0.6), _bump(z[..., 0] + 2, 0.6))


def _wave(z: Tensor) -> Tensor:
    return -_bump(_above_wave(z), 0.4)


def _split_by_bump(z: Tensor) -> Tensor:
    above, lift = _above_wave(z), 3 * _bump(z[..., 0] - 1, 0.6).exp()
    return -torch.logaddexp(_bump(above, 0.35), _bump(above + lift, 0.35))


def _split_by_step(z: Tensor) -> Tensor:
    above, lift = _above_wave(z), 3 * torch.sigmoid((z[..., 0] - 1) / 0.3)
    return -torch.logaddexp(_bump(above, 0.4), _bump(above + lift, 0.35))


def _above_wave(z: Tensor) -> Tensor:
    return z[..., 1] - torch.sin(math.pi / 2 * z[..., 0])


_ENERGIES: dict[str, Callable[[Tensor], Tensor]] = {
    "U1": _ring,
    "U2": _wave,
    "U3": _split_by_bump,
    "U4": _split_by_step,
}


@functools.lru_cache(maxsize=4)
def _log_normaliser(name: str) -> float:
    # The trapezoidal rule on a square that holds all but exp(-60) of the mass: geometric convergence.
    axis = torch.linspace(-9, 9, 1801, dtype=torch.double)
    total = [
        -Energy(name, validate_args=False).energy(torch.cartesian_prod(rows, axis)) for rows in axis.split(64)
    ]
    return torch.cat(total).logsumexp(0).item() + 2 * math.log(18 / 1800)
