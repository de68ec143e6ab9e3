"""The distribution of a flow: a base pushed through a bijection, one fused pass per call."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from pyro.distributions import TorchDistribution, TransformedDistribution
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from pyro_dgm.distributions.standard_base import StandardBase
from pyro_dgm.eager import is_eager
from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError
from pyro_dgm.transforms.bijection import Bijection

__all__ = ["FlowDistribution"]


class FlowDistribution(TransformedDistribution):  # type: ignore[misc]
    r"""The push-forward of a base distribution by a bijection.

    .. math:: \log p(y) = \log p_Z(g^{-1}(y)) + \log|\det \nabla g^{-1}(y)|

    It is a Pyro distribution like any other: an observed site, a latent prior, a guide site, in plates. A
    density or a draw with its density costs one pass through the bijection. A value that this very object
    has just drawn by :meth:`rsample` under enabled gradients is scored from the drawing pass, without
    inverting; values of :meth:`sample` never are, since score-function estimators need the gradient of their
    density.

    The object is short-lived: it belongs to the weights of the moment in which the flow was called. Ask the
    flow for a new one after an optimiser step.

    Args:
        base: Distribution of the latent, of event shape that of the bijection's domain.
        transform: The bijection from latent to data.
        validate_args: Whether values are checked; by default as Pyro's global setting says.

    Shape:
        ``log_prob``: from ``(*sample, *batch, *event)`` to ``(*sample, *batch)``, in nats.

    Raises:
        ShapeError: If a value's rightmost dimensions are not the event shape.
        ArgumentTypeError: If a value is no tensor, or a sample shape no tuple of sizes.
        DataError: If a value is of another dtype than the flow, or, where arguments are validated, outside
            of the support, or if weights or context are not finite.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(
        self, base: TorchDistribution, transform: Bijection, *, validate_args: bool | None = None
    ) -> None:
        event_dim = transform.domain.event_dim
        if len(base.event_shape) != event_dim:
            base = base.to_event(event_dim - len(base.event_shape))
        self.base_dist = base
        self.transforms = [transform]
        self._scored: tuple[Tensor, int, Tensor] | None = None
        event_shape: Size = transform.forward_shape(base.event_shape)  # type: ignore[no-untyped-call]
        # Torch's own constructor expands the base again, which costs more than it checks here.
        Distribution.__init__(self, base.batch_shape, event_shape, validate_args=validate_args)

    @property
    def transform(self) -> Bijection:
        """The bijection from latent to data."""
        transform: Bijection = self.transforms[0]
        return transform

    def expand(self, batch_shape: Size, _instance: None = None) -> FlowDistribution:
        """Return this distribution with a larger ``batch_shape``; itself if it has that shape.

        Raises:
            ShapeError: If the own ``batch_shape`` does not broadcast to it.
        """
        batch_shape = _size(batch_shape)
        own = self.batch_shape
        if batch_shape == own:
            return self
        fits = all(m in (1, n) for m, n in zip(own[::-1], batch_shape[::-1], strict=False))
        if len(own) > len(batch_shape) or not fits:
            raise ShapeError(
                f"this flow has batch_shape={tuple(own)}, that of its context, which does not broadcast to "
                f"{tuple(batch_shape)}. Add dimensions on the left, or widen dimensions of size 1."
            )
        wider = FlowDistribution(self.base_dist.expand(batch_shape), self.transform, validate_args=False)
        wider._validate_args = self._validate_args
        return wider

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of ``value``, in nats."""
        drawn = self._scored
        if drawn is not None and drawn[0] is value and drawn[1] == value._version:
            return drawn[2]
        transform: Bijection = self.transforms[0]
        if self._validate_args and transform.shows_nan and self._is_of_reals(value):
            self._check_event(value)
            x, ladj = transform.inverse_and_ladj(value)
            log_prob: Tensor = self.base_dist.unchecked_log_prob(x) + ladj
            if log_prob.isfinite().all():
                return log_prob
            self._check_support(value)
        else:
            self.check_value(value)
            x, ladj = transform.inverse_and_ladj(value)
        try:
            log_prob = self.base_dist.log_prob(x) + ladj
        except ValueError as error:  # where arguments are validated, of a latent that is not a number
            return self._log_prob_of_far_rows(value, x, ladj, error)
        except RuntimeError:
            if value.numel():
                raise
            return ladj  # no rows, which torch's checks cannot reshape
        return log_prob

    def rsample_and_log_prob(self, sample_shape: Size | tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """Draw reparameterised samples and score them in the same pass.

        Returns:
            The draws ``(*sample, *batch, *event)`` and their log-densities ``(*sample, *batch)``, in nats.
        """
        x = self.base_dist.rsample(_size(sample_shape))
        y, ladj = self.transform.call_and_ladj(x)
        return y, self.base_dist.log_prob(x) - ladj

    def rsample(self, sample_shape: Size | tuple[int, ...] = ()) -> Tensor:
        """Draw samples through which gradients reach the base and the bijection."""
        if not torch.is_grad_enabled():
            return self.sample(sample_shape)
        y, log_prob = self.rsample_and_log_prob(sample_shape)
        self.remember(y, log_prob)
        return y

    def sample(self, sample_shape: Size | tuple[int, ...] = ()) -> Tensor:
        """Draw samples without gradients."""
        with torch.no_grad():
            y: Tensor = self.transform(self.base_dist.sample(_size(sample_shape)))
            return y

    def score_with_costs(self, value: Tensor) -> dict[str, Tensor]:
        """Return what carrying ``value`` to the base costs, and keep its density from the same pass.

        Returns:
            The transform's costs by name, each of shape ``(*sample, *batch)``; empty for most transforms.
        """
        self._check_event(value)
        x, ladj, costs = self.transform.inverse_with_costs(value)
        self.remember(value, self.base_dist.log_prob(x) + ladj)
        return costs

    def remember(self, value: Tensor, log_prob: Tensor) -> None:
        """Keep the density of this one tensor, for the next :meth:`log_prob` of the very same object.

        For passes that give a density besides what they were made for. A change of ``value`` in place
        voids the entry.
        """
        self._scored = (value, value._version, log_prob)

    def _log_prob_of_far_rows(self, value: Tensor, x: Tensor, ladj: Tensor, error: ValueError) -> Tensor:
        """Rows so far out that their latent overflows have a density of zero; others have none at all."""
        rank, data_rank = len(self.base_dist.event_shape), len(self.event_shape)
        good = x.isfinite().flatten(-rank).all(-1)
        limit = torch.finfo(value.dtype).max ** 0.25
        far = value.detach().abs().flatten(-data_rank).amax(-1) > limit
        lost = ~(good | far)
        if lost.any() or not value.isfinite().all():
            first = tuple(lost.nonzero()[0].tolist()) if lost.any() else ()
            raise DataError(
                f"{int(lost.sum())} of {lost.numel()} rows have no latent that is a number, the first "
                f"at index {first}, though their values are finite. The weights or the context are NaN "
                "or infinite."
            ) from error
        safe = x.where(good.reshape(good.shape + (1,) * rank), x.new_zeros(()))
        log_prob: Tensor = self.base_dist.log_prob(safe) + ladj
        return log_prob.where(good, log_prob.new_full((), -torch.inf))

    def _refuse(self, *_: Any) -> NoReturn:
        raise ArgumentTypeError(
            "this is a flow's distribution and not a draw of it. In a model say pyro.sample('w', flow()), "
            "with the brackets: pyro.sample('w', flow) returns what the flow gives, a distribution. "
            "Elsewhere say .sample()."
        )

    __getitem__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __matmul__ = __rmatmul__ = __truediv__ = __rtruediv__ = __neg__ = __pow__ = _refuse

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scored": None}

    def _is_of_reals(self, value: Tensor) -> bool:
        """Whether any number has a density here, and looking at tensors is allowed."""
        return (
            isinstance(self.base_dist, StandardBase)
            and type(self.base_dist).log_prob is StandardBase.log_prob  # and not a tempered one, say
            and self.base_dist.support is constraints.real_vector
            and self.transforms[0].codomain is constraints.real_vector
            and isinstance(value, Tensor)
            and is_eager(value)
        )

    def check_value(self, value: Tensor) -> None:
        """Raise unless ``value`` is a tensor that this distribution can score, or carry to the base."""
        self._check_event(value)
        # Torch's checks cannot reshape an empty batch, and a compiled graph cannot branch on values.
        if self._validate_args and value.numel() and not torch.compiler.is_compiling():
            self._check_support(value)

    def _check_event(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise ArgumentTypeError(
                f"log_prob takes a tensor of shape (*batch, {', '.join(map(str, self.event_shape))}), but a "
                f"{type(value).__name__} came. Say torch.as_tensor(value, dtype=torch.get_default_dtype())."
            )
        rank = len(self.event_shape)
        if value.shape[value.dim() - rank :] != self.event_shape or value.dim() < rank:
            raise ShapeError(
                f"this flow has events of shape {tuple(self.event_shape)}, but the value has shape "
                f"{tuple(value.shape)}. Put batch dimensions on the left of the event's."
            )
        batch = value.shape[: value.dim() - rank]
        if any(m != n and 1 not in (m, n) for m, n in zip(batch[::-1], self.batch_shape[::-1], strict=False)):
            raise ShapeError(
                f"this flow has batch_shape={tuple(self.batch_shape)}, that of its context, but the value "
                f"has shape {tuple(value.shape)}: its batch {tuple(batch)} does not broadcast with it. "
                "Give one context a row."
            )
        if value.dtype != getattr(self.base_dist, "dtype", value.dtype):
            raise DataError(
                f"this flow computes in {self.base_dist.dtype}, but the value is of dtype {value.dtype}. "
                f"Convert the one or the other: value.to({self.base_dist.dtype}), or flow.to({value.dtype}) "
                "if that is a floating-point type."
            )

    def _check_support(self, value: Tensor) -> None:
        inside = self.support.check(value)
        if not inside.all():
            wrong = (~inside).nonzero()
            first = tuple(wrong[0].tolist())
            raise DataError(
                f"{len(wrong)} of {inside.numel()} values lie outside of the flow's support, {self.support}; "
                f"the first is the one at index {first}: {value[first].tolist()}. Remove or mend these rows, "
                "or build the flow with the support= that the data have."
            )


def _size(shape: Any) -> Size:
    """A shape that a user gave, as torch's own kind."""
    try:
        size: Size | None = Size(shape)
    except TypeError:
        size = None
    if size is None or any(n < 0 for n in size):
        hint = f"({shape},)" if isinstance(shape, int) and shape >= 0 else "(5,)"
        raise ArgumentTypeError(
            f"a shape must be a tuple of sizes of at least 0, but is {shape!r}. Say for example {hint}."
        )
    return size
