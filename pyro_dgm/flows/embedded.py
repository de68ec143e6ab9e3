"""A conditional flow that sees its context through standardisation and a network, or a single context."""

from __future__ import annotations

from torch import Tensor, nn

from pyro_dgm.distributions import StandardBase
from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows.flow import Flow
from pyro_dgm.transforms import Bijection

__all__ = ["Embedded", "Given"]


class Embedded(Flow):
    """A conditional flow whose context is shifted, scaled and, with a network, summarised first.

    Args:
        flow: A conditional flow over unbounded vectors.
        loc: What is taken from each entry of the context, of shape ``(C,)``.
        scale: What it is then divided by, ``(C,)``.
        network: Maps standardised contexts ``(*batch, C)`` to those of ``flow``; trains with it. None if they
            are the same.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        ShapeError: If location and scale are no vectors of one size, or not of the size the flow reads.
        DataError: If the flow has bounds of its own, or a scale is not positive.

    Example:
        >>> import torch
        >>> from pyro_dgm.flows import MAF
        >>> flow = Embedded(MAF(2, context_dim=3), torch.zeros(8), torch.ones(8), nn.Linear(8, 3))
        >>> flow(torch.randn(5, 8)).sample().shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        flow: Flow,
        loc: Tensor,
        scale: Tensor,
        network: nn.Module | None = None,
        *,
        name: str | None = None,
    ) -> None:
        if loc.dim() != 1 or loc.shape != scale.shape:
            raise ShapeError(
                f"loc and scale need one shape (C,), but have {tuple(loc.shape)} and {tuple(scale.shape)}."
            )
        if network is None and len(loc) != flow.context_dim:
            raise ShapeError(
                f"the flow was built with context_dim={flow.context_dim}, but contexts have {len(loc)} "
                "entries: build it for that size, or give a network between the two."
            )
        if flow.outer is not None:
            raise DataError("Embedded takes a flow over unbounded vectors, but this one has a support.")
        if not (scale > 0).all() or not (loc.isfinite() & scale.isfinite()).all():
            raise DataError("loc and scale must be finite, and every scale positive.")
        super().__init__(flow.input_dim, len(loc), name=name)
        self.flow, self.network = flow, network
        self.penalties = flow.penalties
        self.register_buffer("origin", flow.origin.new_zeros(flow.latent_dim), persistent=False)
        self.register_buffer("loc", loc.detach().to(flow.origin))
        self.register_buffer("scale", scale.detach().to(flow.origin))

    def embed(self, context: Tensor) -> Tensor:
        """What the flow reads of a context ``(*batch, C)``."""
        standard = (context - self.loc) / self.scale
        return standard if self.network is None else self.network(standard)  # type: ignore[no-any-return]

    def base(self, context: Tensor | None = None) -> StandardBase:
        """Return the distribution of the other flow's latent."""
        return self.flow.base(context)

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the other flow's bijection, given the embedded context."""
        assert context is not None
        return self.flow.unconstrained(self.embed(context))


class Given(Flow):
    """A conditional flow at one context: the flow without a context that it is there.

    Args:
        flow: A conditional flow over unbounded vectors.
        context: The context, of shape ``(C,)``.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        ShapeError: If the context is no vector of the flow's size.

    Example:
        >>> import torch
        >>> from pyro_dgm.flows import MAF
        >>> Given(MAF(2, context_dim=3), torch.zeros(3))().sample().shape
        torch.Size([2])
    """

    def __init__(self, flow: Flow, context: Tensor, *, name: str | None = None) -> None:
        if context.dim() != 1:
            raise ShapeError(f"context needs shape ({flow.context_dim},), but has {tuple(context.shape)}.")
        flow.check_context(context)
        super().__init__(
            flow.input_dim, support=None if flow.outer is None else flow.outer.support, name=name
        )
        self.flow = flow
        self.register_buffer("origin", flow.origin.new_zeros(flow.latent_dim), persistent=False)
        self.register_buffer("context", context.detach().to(flow.origin))

    def base(self, context: Tensor | None = None) -> StandardBase:
        """Return the distribution of the other flow's latent."""
        return self.flow.base(self.context)

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the other flow's bijection at the context."""
        return self.flow.unconstrained(self.context)
