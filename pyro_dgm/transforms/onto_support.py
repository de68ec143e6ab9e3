"""From all of space onto the support that the data have."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Size, Tensor
from torch.distributions import Transform, biject_to, constraints, transform_to
from torch.distributions.constraints import Constraint

from pyro_dgm.errors import DataError
from pyro_dgm.transforms.bijection import Bijection
from pyro_dgm.transforms.lower_cholesky import LowerCholesky
from pyro_dgm.transforms.stick_breaking import StickBreaking

__all__ = ["OntoSupport"]


class OntoSupport(Bijection):
    r"""The bijection from real vectors onto events of a constrained support.

    Any constraint of torch or Pyro that has a bijection: ``positive``, ``interval(a, b)``, ``simplex``,
    ``ordered_vector``, ``lower_cholesky``, ... Constraints of numbers hold for each entry; those of each
    entry, or of each stretch of entries, come from ``constraints.stack`` and ``constraints.cat`` along the
    last dimension, in which stretches may be simplices or ordered vectors.

    A value outside of the support has log-density minus infinity; it never reaches the other rows.

    Args:
        support: The constraint.
        size: Size ``n`` of the events, ``(n,)``, or ``(n, n)`` for a constraint of matrices.

    Shape:
        ``x``: ``(*batch, L)``, where ``L`` is ``n`` but for supports of a lower dimension: ``n - 1`` for a
        simplex. ``y``: ``(*batch, n)`` or ``(*batch, n, n)``. Log-determinant: ``(*batch,)``, in nats.

    Raises:
        DataError: If no bijection onto the support is known, its sizes do not fit, or its bounds enclose
            nothing.

    Example:
        >>> import torch
        >>> from torch.distributions import constraints
        >>> t = OntoSupport(constraints.stack([constraints.positive, constraints.real], dim=-1), 2)
        >>> t(torch.zeros(2))
        tensor([1., 0.])
    """

    def __init__(self, support: Constraint, size: int) -> None:
        super().__init__()
        self.support, self.size = support, size
        self.pieces = _pieces(support, size)
        self.latent_dim = sum(piece.latent for piece in self.pieces)
        self._codomain = _as_events(support, size)

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        """The support, as a constraint of whole events."""
        return self._codomain

    @property
    def event_shape(self) -> Size:
        """Shape of one event on the data side."""
        return Size([self.size] * self._codomain.event_dim)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map onto the support."""
        if len(self.pieces) == 1:
            return _call(self.pieces[0].transform, x)
        slices = x.split([piece.latent for piece in self.pieces], -1)
        done = [_call(piece.transform, part) for piece, part in zip(self.pieces, slices, strict=True)]
        return torch.cat([y for y, _ in done], -1), torch.stack([ladj for _, ladj in done]).sum(0)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map from the support; outside of it the log-determinant is minus infinity."""
        # Torch's checks cannot reshape an empty batch.
        batch = y.shape[: y.dim() - len(self.event_shape)]
        inside = self._codomain.check(y) if y.numel() else y.new_ones(batch, dtype=torch.bool)
        with torch.no_grad():
            somewhere = self.call_and_ladj(y.new_zeros(self.latent_dim))[0]
        y = torch.where(inside.reshape(*inside.shape, *(1,) * len(self.event_shape)), y, somewhere)
        if len(self.pieces) == 1:
            x, ladj = _inverse(self.pieces[0].transform, y)
        else:
            slices = y.split([piece.data for piece in self.pieces], -1)
            done = [_inverse(piece.transform, part) for piece, part in zip(self.pieces, slices, strict=True)]
            x, ladj = torch.cat([x for x, _ in done], -1), torch.stack([ladj for _, ladj in done]).sum(0)
        return x, torch.where(inside, ladj, -torch.inf)

    def on_edge(self, y: Tensor) -> Tensor:
        """Whether events have an entry on a closed end of its interval, or one of zero in a simplex.

        No real number is mapped there, and densities are defined inside only: such entries are scored as the
        nearest number inside, hundreds of nats below their neighbours.

        Args:
            y: Events, ``(*batch, n)``.

        Returns:
            One truth value an event, ``(*batch,)``.
        """
        slices = y.split([piece.data for piece in self.pieces], -1) if len(self.pieces) > 1 else (y,)
        touching = torch.zeros(y.shape[: y.dim() - len(self.event_shape)], dtype=torch.bool, device=y.device)
        for piece, part in zip(self.pieces, slices, strict=True):
            for end in piece.ends:
                touching |= (part == end).flatten(touching.dim()).any(-1)
        inside: Tensor = self._codomain.check(y)
        return touching & inside

    def forward_shape(self, shape: Size) -> Size:
        """From latents to events."""
        return Size([*shape[:-1], *self.event_shape])

    def inverse_shape(self, shape: Size) -> Size:
        """From events to latents."""
        return Size([*shape[: len(shape) - len(self.event_shape)], self.latent_dim])


class _Piece(NamedTuple):
    transform: Transform
    latent: int
    data: int
    ends: tuple[Any, ...] = ()


def _call(t: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(t, Bijection):
        return t.call_and_ladj(x)
    y = t(x)
    return y, _over_entries(t, x, y)


def _inverse(t: Transform, y: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(t, Bijection):
        return t.inverse_and_ladj(y)
    x = t.inv(y)
    return x, -_over_entries(t, x, y)


def _over_entries(t: Transform, x: Tensor, y: Tensor) -> Tensor:
    ladj: Tensor = t.log_abs_det_jacobian(x, y)
    return ladj.sum(-1) if t.domain.event_dim == 0 else ladj


def _pieces(support: Constraint, size: int) -> list[_Piece]:
    """The stretches of the event, each with a bijection of its own."""
    if isinstance(support, constraints.independent):
        return _pieces(support.base_constraint, size)
    if isinstance(support, constraints.cat | constraints.stack):
        lengths = support.lengths if isinstance(support, constraints.cat) else [1] * len(support.cseq)
        if support.dim != -1 or sum(lengths) != size or any(c.event_dim > 1 for c in support.cseq):
            raise DataError(
                f"the support {support} has parts of lengths {list(lengths)} along dimension {support.dim}, "
                f"but events have shape ({size},). Join numbers or vectors along dim=-1, with lengths that "
                f"add up to {size}."
            )
        return [p for c, n in zip(support.cseq, lengths, strict=True) for p in _pieces(c, n)]
    return [_piece(support, size)]


def _piece(support: Constraint, size: int) -> _Piece:
    if support is constraints.simplex or isinstance(support, type(constraints.simplex)):
        if size < 2:
            raise DataError(f"a simplex has at least two entries, but the events have size {size}.")
        return _Piece(StickBreaking(), size - 1, size, (0.0,))
    if isinstance(support, type(constraints.lower_cholesky)):
        return _Piece(LowerCholesky(), size * (size + 1) // 2, size)
    _check_bounds(support)
    try:
        transform = biject_to(support)
        latent = transform.inverse_shape(Size([size] * max(1, support.event_dim)))
    except (NotImplementedError, ValueError) as error:
        raise DataError(
            f"no bijection from real vectors onto events of size {size} of the support {support} is known "
            f"({type(error).__name__}: {error}). Pass a continuous constraint such as constraints.positive, "
            "interval, simplex, ordered_vector, lower_cholesky, or a stack or cat of such; counts must be "
            "dequantised first."
        ) from error
    if len(latent) != 1:
        raise DataError(
            f"torch's bijection onto {support} starts from events of shape {tuple(latent)}, not vectors. "
            "Use constraints.lower_cholesky or corr_cholesky for matrices."
        )
    ends = tuple(bound for bound in _bounds(support) if bound is not None)
    return _Piece(transform, latent[0], size, ends)


def _check_bounds(support: Constraint) -> None:
    """Raise unless the bounds of a constraint, where it has such, are finite and in order."""
    low, high = (None if b is None else torch.as_tensor(b, dtype=torch.double) for b in _bounds(support))
    finite = all(bound is None or bound.isfinite().all() for bound in (low, high))
    if not finite or (low is not None and high is not None and not (low < high).all()):
        raise DataError(
            f"the support {support} needs finite bounds, the lower below the upper. Where one side is open, "
            "say constraints.greater_than(bound) or constraints.less_than(bound)."
        )


def _bounds(support: Constraint) -> tuple[Any, Any]:
    """The lower and the upper bound, where there is one."""
    return vars(support).get("lower_bound"), vars(support).get("upper_bound")


def _as_events(support: Constraint, size: int) -> Any:
    """The same support as a constraint of whole events."""
    if isinstance(support, constraints.stack):
        # Torch's stack checks entries although it counts as a constraint of vectors.
        support = constraints.cat(support.cseq, dim=-1, lengths=[1] * len(support.cseq))
    if isinstance(support, constraints.cat | type(constraints.lower_cholesky)) and support.event_dim:
        return _Registered(support, size)
    return constraints.independent(support, 1) if support.event_dim == 0 else support


class _Registered(Constraint):
    """A support for which torch knows no bijection: triangular matrices, stretches of numbers and vectors.

    Pyro asks torch for the bijection of a latent site's support, and finds ours.
    """

    is_discrete = False

    def __init__(self, support: Any, size: int) -> None:
        super().__init__()
        self.support, self.size = support, size
        self.__setstate__(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for registry in (biject_to, transform_to):
            registry.register(_Registered, lambda c: OntoSupport(c.support, c.size))

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        event_dim: int = self.support.event_dim
        return event_dim

    def check(self, value: Tensor) -> Tensor:
        if self.event_dim > 1:
            return self.support.check(value)  # type: ignore[no-any-return]
        parts = value.split(list(self.support.lengths), -1)
        checks = [c.check(part) for c, part in zip(self.support.cseq, parts, strict=True)]
        return torch.stack([c if c.dim() < value.dim() else c.all(-1) for c in checks]).all(0)

    def __repr__(self) -> str:
        return repr(self.support)
