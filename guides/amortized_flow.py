"""A guide whose posterior is a flow that an encoder steers."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor, nn

from pyro_dgm.distributions import FlowDistribution
from pyro_dgm.errors import ShapeError
from pyro_dgm.flows import Flow
from pyro_dgm.guides.amortized import AmortizedGuide
from pyro_dgm.guides.amortized_normal import location_and_scale

__all__ = ["AmortizedFlow"]


class AmortizedFlow(AmortizedGuide):
    r"""Amortized guide q(z | x): a flow whose context, and whose base if asked for, an encoder reads off x.

    .. math:: z = f(\mu(x) + \sigma(x) \odot \epsilon;\, h(x)), \qquad \epsilon \sim N(0, I)

    The encoder returns one tensor, the features :math:`h`, and the base is then the flow's own; or location,
    log-variance, and the features as a third output. A flow with ``context_dim=0`` takes no features. The
    guide's own draw is scored from the drawing pass, without inverting the flow, by ``Trace_ELBO`` and by
    the objectives of this library; planar and inverse autoregressive flows are made for that.

    Sites: ``z`` of event shape ``(latent_dim,)`` in the plate ``data``.

    Args:
        encoder: Maps ``(n, *event)`` to features ``(n, C)``, or to location and log-variance ``(n, q)`` and,
            for a flow with a context, features. With ``takes_context`` it is called as
            ``encoder(x, context)``.
        flow: The flow, with ``context_dim`` the number of features.
        takes_context: Whether the encoder reads the context too.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        ShapeError: If the encoder's outputs do not fit the flow.

    Reference:
        Rezende and Mohamed, Variational Inference with Normalizing Flows, ICML 2015.
        https://arxiv.org/abs/1505.05770
        Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, NeurIPS 2016.
        https://arxiv.org/abs/1606.04934

    Example:
        >>> import torch
        >>> from pyro_dgm.flows import IAF
        >>> from pyro_dgm.nets import MLPEncoder
        >>> guide = AmortizedFlow(MLPEncoder((8,), 3, extra_dim=5), IAF(3, context_dim=5))
        >>> guide.posterior(torch.zeros(4, 8)).rsample((2,)).shape
        torch.Size([2, 4, 3])
    """

    def __init__(
        self, encoder: nn.Module, flow: Flow, *, takes_context: bool = False, name: str | None = None
    ) -> None:
        super().__init__(encoder, takes_context=takes_context, name=name)
        self.flow = flow

    def posterior(self, x: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        """Return q(z | x), of batch shape ``(n,)`` and event shape ``(latent_dim,)``."""
        flow, out, batch = self.flow, self.encoded(x, context), self.batch_of(x, context)
        if isinstance(out, Tensor):
            if out.dim() != 2 or len(out) != batch.numel():
                raise ShapeError(
                    f"the encoder of AmortizedFlow must return features of shape (n, {flow.context_dim}), "
                    f"but for {len(x)} rows it returned one of shape {tuple(out.shape)}."
                )
            return flow(out.view(*batch, -1)).expand(batch)  # type: ignore[no-any-return]
        loc, scale, *rest = (
            part.view(*batch, -1) for part in location_and_scale(out, batch.numel(), type(self).__name__)
        )
        features = rest[0] if rest and flow.context_dim else None
        flow.check_context(features)
        base = dist.Normal(loc, scale).to_event(1)
        if base.event_shape != flow.event_shape:
            raise ShapeError(
                f"the flow of AmortizedFlow has events of shape {tuple(flow.event_shape)}, but the encoder's "
                f"location has shape {tuple(loc.shape)}: build both for one latent_dim."
            )
        return FlowDistribution(base, flow.transform(features))
