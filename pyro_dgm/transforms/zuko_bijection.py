"""Zuko's transforms as bijections, with exact inverses where zuko bisects."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform, _InverseTransform

from pyro_dgm.transforms.bijection import Bijection
from pyro_dgm.transforms.root import increasing_root
from pyro_dgm.transforms.sum_of_squares import gauss_legendre
from pyro_dgm.zuko_guard import import_zuko

__all__ = ["ZukoBijection"]


class ZukoBijection(Bijection):
    """A transform of zuko's over vectors, from data to latent as zuko has it, used as a bijection of ours.

    Where zuko inverts a monotone function by bisection between fixed bounds, to an absolute 1e-6 and with no
    second derivative, the root is solved for in a bracket that expands, to rounding, and differentiated
    exactly twice. All else is zuko's own.

    Between the layers of its ``NAF``, ``UNAF`` and ``SOSPF`` zuko clips to an interval: these are no
    bijections of all of space. A latent whose way back leaves the interval has no data, and gives NaN, alone.
    The flows of ours by these names have no such latents.

    Args:
        transform: The transform from data to latent; any of torch's will do.
        box: Where both data and latents lie, if that is not all of space; there is no density elsewhere.

    Shape:
        ``x`` and ``y``: ``(*batch, D)``. Log-determinant: ``(*batch,)``, in nats.
    """

    def __init__(self, transform: Transform, box: Constraint | None = None) -> None:
        super().__init__()
        self.part, self.box = _exact(transform), box
        if box is not None:
            self.domain = self.codomain = box  # type: ignore[assignment]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map latents to data, by zuko's inverse."""
        y = self.part.inv(x)
        return y, -self._ladj(y, x)[1]

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to latents, by zuko's forward direction."""
        x, ladj = self._ladj(y, None)
        return (x, ladj) if self.box is None else (x, torch.where(self.box.check(y), ladj, -torch.inf))

    def forward_shape(self, shape: Size) -> Size:
        """The shape of ``y`` for an ``x`` of the given shape."""
        found: Size = self.part.inverse_shape(shape)
        return found

    def inverse_shape(self, shape: Size) -> Size:
        """The shape of ``x`` for a ``y`` of the given shape."""
        found: Size = self.part.forward_shape(shape)
        return found

    def _ladj(self, y: Tensor, x: Tensor | None) -> tuple[Tensor, Tensor]:
        if not y.numel():  # no rows, which torch's own sums cannot reshape
            return y, y.new_zeros(y.shape[:-1])
        x, ladj = self.part.call_and_ladj(y)  # zuko gives it to every transform
        return x, ladj.sum(-1) if self.part.domain.event_dim == 0 else ladj

    def _call(self, x: Tensor) -> Tensor:
        return self.part.inv(x)  # type: ignore[no-any-return]


def _exact(t: Any) -> Any:
    """The same transform, with every bisection in it replaced."""
    zt = import_zuko().transforms
    if isinstance(t, _InverseTransform):
        return _exact(t.inv).inv
    if isinstance(t, zt.ComposedTransform):
        return zt.ComposedTransform(*map(_exact, t.transforms))
    if isinstance(t, zt.DependentTransform):
        return zt.DependentTransform(_exact(t.base), t.reinterpreted)
    if isinstance(t, zt.AutoregressiveTransform | zt.CouplingTransform):
        changed = copy.copy(t)
        changed.meta = lambda x: _exact(t.meta(x))
        return changed
    if isinstance(t, zt.MonotonicTransform):
        return _SolvedMonotonic(t)
    if isinstance(t, zt.SoftclipTransform):
        return _Softclip(t.bound)
    return t


class _Softclip(Transform):
    """Zuko's clip between the layers of its NAF, UNAF and SOSPF, with nothing for what is not clipped to."""

    domain = constraints.real
    bijective = True
    sign = +1

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound, self.codomain = bound, constraints.interval(-bound, bound)

    def _call(self, x: Tensor) -> Tensor:
        return x / (1 + (x / self.bound).abs())

    def _inverse(self, y: Tensor) -> Tensor:
        inside = y.abs() < self.bound
        # Zuko's formula changes sign beyond the bound: a draw that is wrong in silence.
        return torch.where(inside, y / (1 - torch.where(inside, y, 0.0).abs() / self.bound), torch.nan)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -2 * torch.log1p((x / self.bound).abs())


class _SolvedMonotonic(Transform):
    """A monotone transform of zuko's, inverted by a root that is exact and twice differentiable."""

    domain = constraints.real
    codomain = constraints.real
    bijective = True
    sign = +1

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.part = part

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def _call(self, x: Tensor) -> Tensor:
        return self._value_and_slope(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        finite = y.isfinite()
        target = torch.where(finite, y, 0.0)

        def function(x: Tensor) -> tuple[Tensor, Tensor]:
            value, slope = self._value_and_slope(x)
            return value - target, slope

        start = target.detach()
        root = increasing_root(function, start - 1, start + 1, expand=True)
        return torch.where(finite, root, y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self._value_and_slope(x)[1].log()

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = self._value_and_slope(x)
        return value, slope.log()

    def _value_and_slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if hasattr(self.part, "g"):  # an integral, whose slope is the integrand
            return self._integral(x), self.part.g(x)
        # Zuko leaves out the graph where it sees no parameter, and in evaluation mode it sees none. The
        # clone keeps apart what depends on x through the parameters.
        wanted = torch.is_grad_enabled()
        with torch.enable_grad():
            at = x.clone() if wanted and x.requires_grad else x.detach().requires_grad_()
            value = self.part.f(at)
            (slope,) = torch.autograd.grad(value.sum(), at, create_graph=wanted)
        return (value, slope) if wanted else (value.detach(), slope.detach())

    def _integral(self, x: Tensor) -> Tensor:
        # Zuko's quadrature, written out: its own backward pass has no derivative.
        nodes, weights = (t.to(x).reshape(-1, *(1,) * x.dim()) for t in gauss_legendre(self.part.n))
        integral: Tensor = x * (weights * self.part.g(nodes * x)).sum(0)
        return integral
