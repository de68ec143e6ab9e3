"""The module that owns a flow's networks and returns its distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.distributions.constraints import Constraint

from pyro_dgm.distributions import FlowDistribution, StandardBase, StandardNormal
from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError
from pyro_dgm.naming import NamedPyroModule
from pyro_dgm.transforms import Bijection, Composed, OntoSupport

__all__ = ["Flow"]


class Flow(NamedPyroModule):
    """A normalizing flow over vectors: calling it gives a distribution.

    ``flow()``, or ``flow(context)`` for a conditional flow, is a
    :class:`~pyro_dgm.distributions.FlowDistribution` for use as ``pyro.sample("x", flow(), obs=x)`` in any
    model or guide. It trains there under SVI without a ``pyro.module`` statement, in a plain function too.

    A subclass keeps its networks in plain ``nn.Module`` children and defines :meth:`unconstrained`, a
    bijection of real vectors of size :attr:`latent_dim`. Data of a constrained ``support`` are mapped from
    there by one more bijection, which :meth:`transform` adds.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        support: Where the data lie: any constraint of torch or Pyro with a bijection onto it, such as
            ``constraints.positive``, or a ``stack`` or ``cat`` of such along the last dimension. For one of
            matrices, events are ``(D, D)``. By default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        ShapeError: If a context is missing, superfluous or of the wrong size.
        DataError: If no bijection onto the support is known, or a context is of another dtype than the flow.
    """

    _elsewhere: ClassVar[Mapping[str, str]] = {
        **{
            name: f"a flow gives a distribution when it is called. Say flow().{name}(...), or "
            f"flow(context).{name}(...) for a conditional flow."
            for name in ("log_prob", "sample", "rsample", "rsample_and_log_prob")
        },
        **dict.fromkeys(
            ("inverse", "inv", "encode"), "take flow.transform(context), from latent to data, and its .inv."
        ),
    }

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if input_dim < 1 or context_dim < 0:
            raise ValueError(
                f"{type(self).__name__} needs input_dim >= 1 and context_dim >= 0, but got "
                f"input_dim={input_dim} and context_dim={context_dim}."
            )
        self.input_dim, self.context_dim = input_dim, context_dim
        # Costs of the bijection that training adds to the loss: name -> weight. None for most flows.
        self.penalties: dict[str, float] = {}
        self._frozen = False
        self.outer = None if support is None else OntoSupport(support, input_dim)
        self.register_buffer("origin", torch.zeros(self.latent_dim), persistent=False)

    @property
    def event_shape(self) -> torch.Size:
        """Shape of one row of data."""
        return torch.Size([self.input_dim]) if self.outer is None else self.outer.event_shape

    @property
    def latent_dim(self) -> int:
        """Size of the latent: that of the data, but for supports of a lower dimension."""
        return self.input_dim if self.outer is None else self.outer.latent_dim

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the bijection of real vectors, given a ``context`` of shape ``(*batch, C)``."""
        raise NotImplementedError(f"{type(self).__name__} must define unconstrained(context)")

    def transform(self, context: Tensor | None = None) -> Bijection:
        """Return the bijection from latent to data, given a ``context`` of shape ``(*batch, C)``."""
        inner = self.unconstrained(context)
        return inner if self.outer is None else Composed([inner, self.outer])

    def base(self, context: Tensor | None = None) -> StandardBase:
        """Return the latent's distribution, N(0, I) with the batch shape of the context."""
        return StandardNormal(self.origin, () if context is None else context.shape[:-1])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call :meth:`forward`; inside ``torch.compile`` past Pyro's bookkeeping, which no graph can hold."""
        if torch.compiler.is_compiling():
            return nn.Module.__call__(self, *args, **kwargs)
        return super().__call__(*args, **kwargs)

    def forward(self, context: Tensor | None = None) -> FlowDistribution:
        """Return the distribution of the data, given a ``context`` of shape ``(*batch, C)``.

        Its ``batch_shape`` is ``batch``, and ``()`` without a context.
        """
        self.check_context(context)
        return FlowDistribution(self.base(context), self.transform(context))

    def check_context(self, context: Tensor | None) -> None:
        """Raise :class:`ShapeError` or :class:`DataError` unless the flow was built for such a context."""
        self.check_tensor(context)
        got = 0 if context is None else context.shape[-1] if context.dim() else -1
        if got != self.context_dim:
            came = "none came" if context is None else f"one of shape {tuple(context.shape)} came"
            wanted = f"a context of shape (*batch, {self.context_dim})" if self.context_dim else "no context"
            raise ShapeError(
                f"{type(self).__name__} was built with context_dim={self.context_dim} and expects {wanted}, "
                f"but {came}. Call flow(context) with that shape, or build the flow with "
                f"context_dim={max(got, 1) if context is not None else 0}."
            )

    def check_tensor(self, context: Tensor | None) -> None:
        """Raise unless a context is None, or a tensor of the flow's dtype."""
        if context is None:
            return
        if not isinstance(context, Tensor):
            raise ArgumentTypeError(
                f"{type(self).__name__} takes a context that is a tensor, but a {type(context).__name__} "
                "came. Say torch.as_tensor(context, dtype=torch.get_default_dtype()). Rows to be scored go "
                "to flow(context).log_prob(rows)."
            )
        if context.dtype != self.origin.dtype and not torch.is_autocast_enabled(context.device.type):
            raise DataError(
                f"{type(self).__name__} computes in {self.origin.dtype}, but the context is of dtype "
                f"{context.dtype}. Convert the one or the other: context.to({self.origin.dtype}), or "
                "flow.to(dtype)."
            )

    def freeze(self) -> Self:
        """Stop gradients to the parameters and stay in evaluation mode; returns the flow itself.

        A frozen flow stays as it is inside a model that trains, under SVI too.
        """
        self.requires_grad_(False)
        self.eval()
        self._frozen = True
        return self

    def unfreeze(self) -> Self:
        """Undo :meth:`freeze`: let the parameters train again."""
        self._frozen = False
        self.requires_grad_(True)
        return self.train()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, unless the flow is frozen."""
        return super().train(mode and not self._frozen)

    def extra_repr(self) -> str:
        """State the sizes in ``repr``."""
        context = f", context_dim={self.context_dim}" if self.context_dim else ""
        support = "" if self.outer is None else f", support={self.outer.support}"
        return f"input_dim={self.input_dim}{context}{support}"
