"""What an audit looks at: one distribution over flat vectors, whichever library it comes from."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution, Independent
from torch.distributions.transforms import Transform

from pyro_dgm.errors import ShapeError

__all__ = ["Subject", "double_copy", "subjects_of"]

_MAX_MEMBERS = 8
_BLOCK_ELEMENTS = 2**16


class Subject:
    """One member of a distribution's batch, over flat vectors.

    Points have shape ``(n, D)`` here, whatever the event shape; log-densities and log-determinants ``(n,)``.

    Args:
        distribution: Any torch distribution. With ``base_dist`` and ``transforms``, or with zuko's ``base``
            and ``transform``, the change of variables can be looked at too.
        index: Which member of its batch.
        name: What the report calls it, such as ``"context row 3"``.

    Raises:
        ShapeError: If latent and data differ in size, so that there is no Jacobian determinant.
    """

    def __init__(self, distribution: Distribution, index: Sequence[int] = (), name: str = "") -> None:
        self.distribution, self.index, self.name = distribution, index, name
        self.event_shape, self.dim = distribution.event_shape, max(1, distribution.event_shape.numel())
        self.base, self.transforms = _parts(distribution)
        self.has_transform = self.base is not None
        self.base_event_shape = self._shape_of_latent()
        if self.has_transform and max(1, self.base_event_shape.numel()) != self.dim:
            raise ShapeError(
                f"audit needs latents and data of one size, but this distribution maps events of shape "
                f"{tuple(self.base_event_shape)} to {tuple(self.event_shape)}: its log-determinant is not "
                "that of a square Jacobian."
            )
        self.dtype, self.device = (like := self.sample(1)).dtype, like.device

    def sample(self, n: int) -> Tensor:
        """Draw ``n`` points."""
        return self._pick(self.distribution.sample(Size([n]))).reshape(n, -1)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density, in nats, computed blockwise; ``-inf`` outside the support."""
        blocks = x.split(max(1, _BLOCK_ELEMENTS // self.dim))
        return torch.cat([self._log_prob(block) for block in blocks])

    def _log_prob(self, x: Tensor) -> Tensor:
        value = self._spread(x, self.event_shape)
        inside = _is_inside(self.distribution, value)
        if inside is not None and not (picked := self._pick(inside)).all():
            out = x.new_full((len(x),), -torch.inf)
            if picked.any():
                out[picked] = self._pick(self.distribution.log_prob(value[picked]))
            return out
        return self._pick(self.distribution.log_prob(value))

    def base_points(self, n: int, scale: float) -> Tensor:
        """Draw latents ``scale`` times as wide as the base; from the base itself if it is bounded."""
        base, shape = self.base, Size([n])
        assert base is not None
        z = base.sample(shape)
        if _is_unbounded(base):
            z = base.mean + scale * base.variance.sqrt() * torch.randn_like(z)
        return self._pick(z).reshape(n, -1)

    def base_log_prob(self, x: Tensor) -> Tensor:
        """The log-density of latents under the base, in nats."""
        assert self.base is not None
        return self._total(self.base.log_prob(self._spread(x, self.base_event_shape)))

    def push(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map latents to data, with the log-determinant that the transforms claim."""
        value, total = self._spread(x, self.base_event_shape), x.new_zeros(len(x))
        for transform in self.transforms:
            if hasattr(transform, "call_and_ladj"):
                after, ladj = transform.call_and_ladj(value)
            else:
                after = transform(value)
                ladj = transform.log_abs_det_jacobian(value, after)
            value, total = after, total + self._total(ladj)
        return self._pick(value).reshape(len(x), -1), total

    def pull(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to latents, with the log-determinant of the inverse that the transforms claim."""
        # A copy, so that no transform recognises a tensor of its own making and answers from a cache.
        value, total = self._spread(y.clone(), self.event_shape), y.new_zeros(len(y))
        for transform in reversed(self.transforms):
            if hasattr(transform, "inverse_and_ladj"):
                before, ladj = transform.inverse_and_ladj(value)
            else:
                before = transform.inv(value)
                ladj = -transform.log_abs_det_jacobian(before, value)
            value, total = before, total + self._total(ladj)
        return self._pick(value).reshape(len(y), -1), total

    def _shape_of_latent(self) -> Size:
        if self.base is None:
            return Size()
        # What the base calls a batch may be part of one event of the whole, as with Independent.
        return (self.base.batch_shape + self.base.event_shape)[len(self.distribution.batch_shape) :]

    def _spread(self, x: Tensor, event_shape: Size) -> Tensor:
        """Give points to every member of the batch."""
        batch = self.distribution.batch_shape
        value = x.reshape(len(x), *(1 for _ in batch), *event_shape)
        return value.expand(len(x), *batch, *event_shape)

    def _pick(self, value: Tensor) -> Tensor:
        for i in self.index:
            value = value[:, i]
        return value

    def _total(self, value: Tensor) -> Tensor:
        """Sum what belongs to one event, then take this member's."""
        rank = 1 + len(self.distribution.batch_shape)
        return self._pick(value if value.dim() <= rank else value.flatten(rank).sum(-1))


def subjects_of(flow: nn.Module | Distribution, context: Tensor | None = None) -> list[Subject]:
    """Every member of the distribution that ``flow`` is, or gives when it is called with ``context``.

    Raises:
        TypeError: If ``flow`` is no distribution and gives none.
        ShapeError: If there are too many members, or a context for something that takes none.
    """
    if isinstance(flow, nn.Module):
        given = flow() if context is None else flow(context)
    elif context is not None and hasattr(flow, "condition"):
        given = flow.condition(context)
    elif context is not None:
        raise ShapeError(f"{type(flow).__name__} is a distribution already: it takes no context.")
    else:
        given = flow
    if not isinstance(given, Distribution):
        raise TypeError(
            f"audit needs a flow, a NormalizingFlow, a torch distribution or a module that gives one, but "
            f"{type(flow).__name__} gave {type(given).__name__}."
        )
    shape = given.batch_shape
    if not 0 < shape.numel() <= _MAX_MEMBERS:
        raise ShapeError(
            f"audit looks at each member of a batch in turn, at 1 to {_MAX_MEMBERS} of them, but the batch "
            f"shape is {tuple(shape)}. Give fewer, or use .to_event() if these are parts of one event."
        )
    word = "batch member" if context is None else "context row"
    indices = itertools.product(*(range(n) for n in shape))
    return [Subject(given, i, f"{word} {i[0] if len(i) == 1 else i}" if i else "") for i in indices]


def double_copy(flow: Any, context: Tensor | None) -> list[Subject] | None:
    """The same in double precision, or None where no such copy can be made."""
    if not isinstance(flow, nn.Module):
        return None
    try:
        twin = copy.deepcopy(flow).double()
        subjects = subjects_of(twin, None if context is None else context.double())
        subjects[0].log_prob(subjects[0].sample(2))
    except (RuntimeError, TypeError):  # a constant of single precision, a tensor that cannot be copied
        return None
    return subjects if subjects[0].dtype == torch.double else None


def _parts(distribution: Distribution) -> tuple[Distribution | None, list[Transform]]:
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    if hasattr(distribution, "base_dist") and hasattr(distribution, "transforms"):
        return distribution.base_dist, list(distribution.transforms)
    base, transform = getattr(distribution, "base", None), getattr(distribution, "transform", None)
    if isinstance(base, Distribution) and isinstance(transform, Transform):
        return base, [transform.inv]  # zuko's, which map data to latents
    return None, []


def _is_unbounded(base: Distribution) -> bool:
    support: Any = base.support
    try:
        far = 1e6 * base.variance.sqrt()
        return bool((support.check(base.mean - far) & support.check(base.mean + far)).all())
    except NotImplementedError:
        return False


def _is_inside(distribution: Distribution, value: Tensor) -> Tensor | None:
    """Whether values lie in the support, of shape ``(n, *batch)``; None if the distribution cannot say."""
    try:
        support: Any = distribution.support
        inside: Tensor = support.check(value)
    except NotImplementedError:
        return None
    rank = 1 + len(distribution.batch_shape)
    return inside if inside.dim() <= rank else inside.flatten(rank).all(-1)
