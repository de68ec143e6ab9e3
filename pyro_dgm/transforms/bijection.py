"""The contract of every bijection: two joint passes, no hidden state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

__all__ = ["Bijection", "Composed", "Inverted"]


class Bijection(Transform):
    r"""A differentiable, invertible map as a pure function of tensors.

    A subclass writes each direction once, as a joint pass that gives the value and the log-determinant
    together; ``_call``, ``_inverse`` and ``log_abs_det_jacobian`` follow. In every transform ``x`` is on the
    base side (the latent) and ``y`` on the data side. Nothing is cached: a log-determinant kept from an
    earlier call goes stale at the next optimiser step.

    Shape:
        ``x`` and ``y``: ``(*batch, *event)``. Log-determinants: ``(*batch,)``, in nats.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True
    # Whether an entry that is no number always makes one of the image's that is none: a finite density then
    # shows that all entries were numbers, and nothing else has to look at them.
    shows_nan = False

    def __init__(self) -> None:
        super().__init__(cache_size=0)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""Map ``x`` to ``y`` and return it with :math:`\log|\det \partial y / \partial x|`."""
        raise NotImplementedError(f"{type(self).__name__} must define call_and_ladj(x)")

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        r"""Map ``y`` to ``x`` and return it with :math:`\log|\det \partial x / \partial y|`.

        The log-determinant is that of the inverse: the density of ``y`` is the base density at ``x`` plus
        this term.
        """
        raise NotImplementedError(f"{type(self).__name__} must define inverse_and_ladj(y)")

    def inverse_with_costs(self, y: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Like :meth:`inverse_and_ladj`, with what the way costs: a transport cost, say, by its name.

        Costs have shape ``(*batch,)``. Most bijections have none and give an empty dictionary.
        """
        return (*self.inverse_and_ladj(y), {})

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        return self.inverse_and_ladj(y)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """The log-determinant of the map at ``x``, in nats; ``y`` is not needed."""
        return self.call_and_ladj(x)[1]

    def with_cache(self, cache_size: int = 1) -> Bijection:
        """Return the transform itself: bijections here hold no cache."""
        return self

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class Composed(Bijection):
    """Several bijections after one another: the first part is nearest to the base.

    Args:
        parts: The bijections, from the base side to the data side, all over events of one rank.
    """

    def __init__(self, parts: Sequence[Bijection]) -> None:
        super().__init__()
        if not parts:
            raise ValueError("Composed needs at least one bijection, but got none.")
        self.parts = tuple(parts)

    @property
    def domain(self) -> Any:  # type: ignore[override]
        """The domain of the part nearest to the base."""
        return self.parts[0].domain

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        """The codomain of the part nearest to the data."""
        return self.parts[-1].codomain

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the parts in order; log-determinants add, each at its own intermediate point."""
        y, total = self.parts[0].call_and_ladj(x)
        for part in self.parts[1:]:
            y, ladj = part.call_and_ladj(y)
            total = total + ladj
        return y, total

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the parts in reverse order; log-determinants add."""
        x, total = self.parts[-1].inverse_and_ladj(y)
        for part in reversed(self.parts[:-1]):
            x, ladj = part.inverse_and_ladj(x)
            total = total + ladj
        return x, total

    def inverse_with_costs(self, y: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Undo the parts in reverse order; log-determinants add, and so do costs of one name."""
        x, total, costs = self.parts[-1].inverse_with_costs(y)
        for part in reversed(self.parts[:-1]):
            x, ladj, more = part.inverse_with_costs(x)
            total = total + ladj
            costs = costs | {name: costs.get(name, 0.0) + cost for name, cost in more.items()}
        return x, total, costs

    def forward_shape(self, shape: Size) -> Size:
        """The shape of ``y`` for an ``x`` of the given shape."""
        for part in self.parts:
            shape = part.forward_shape(shape)  # type: ignore[no-untyped-call]
        return shape

    def inverse_shape(self, shape: Size) -> Size:
        """The shape of ``x`` for a ``y`` of the given shape."""
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)  # type: ignore[no-untyped-call]
        return shape

    def _call(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.inv(y)
        return y


class Inverted(Bijection):
    """A bijection used backwards: its cheap direction becomes the other one.

    Args:
        part: The bijection whose inverse this is.
    """

    def __init__(self, part: Bijection) -> None:
        super().__init__()
        self.part = part

    @property
    def domain(self) -> Any:  # type: ignore[override]
        """The codomain of the part."""
        return self.part.codomain

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        """The domain of the part."""
        return self.part.domain

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the inverse of the part."""
        return self.part.inverse_and_ladj(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the part."""
        return self.part.call_and_ladj(y)

    def forward_shape(self, shape: Size) -> Size:
        """The shape of ``y`` for an ``x`` of the given shape."""
        return self.part.inverse_shape(shape)  # type: ignore[no-any-return, no-untyped-call]

    def inverse_shape(self, shape: Size) -> Size:
        """The shape of ``x`` for a ``y`` of the given shape."""
        return self.part.forward_shape(shape)  # type: ignore[no-any-return, no-untyped-call]

    def _call(self, x: Tensor) -> Tensor:
        inverse: Tensor = self.part.inv(x)
        return inverse

    def _inverse(self, y: Tensor) -> Tensor:
        return self.part(y)  # type: ignore[no-any-return]
