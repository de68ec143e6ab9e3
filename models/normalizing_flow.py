"""A normalizing flow as a Pyro model."""

from __future__ import annotations

from math import prod

import pyro
import torch
from torch import Tensor

from pyro_dgm.flows import Flow
from pyro_dgm.guides import Empty
from pyro_dgm.models.generative_model import Capabilities, GenerativeModel, evaluating
from pyro_dgm.plates import data_plate

__all__ = ["NormalizingFlow"]


class NormalizingFlow(GenerativeModel):
    r"""A flow as the model of observed rows: ``x ~ flow(context)``.

    There is no latent site, so the guide is :class:`~pyro_dgm.guides.Empty`, and SVI with ``Trace_ELBO`` is
    exact maximum likelihood: the loss is :math:`J_{ML} = -\sum_i \log p(x_i)`, in nats.

    Sites: ``x`` of event shape ``(D,)`` in the plate ``data``. A flow with ``penalties`` adds a factor site
    ``penalty_<name>`` of ``-weight * cost`` for each, in training mode and for given rows only: in evaluation
    mode no penalty exists, and the log-joint is the likelihood.

    Args:
        flow: The flow.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Attributes:
        costs: What the last rows cost in training, by name: means over the rows without weights or
            gradients, each in its own unit (a kinetic energy is a squared length over time, say).

    Example:
        >>> from pyro_dgm.flows import RealNVP
        >>> model = NormalizingFlow(RealNVP(2))
        >>> model.log_prob(torch.randn(5, 2)).shape, model.sample(3).shape
        (torch.Size([5]), torch.Size([3, 2]))
    """

    def __init__(self, flow: Flow, *, name: str | None = None) -> None:
        super().__init__(name)
        self.flow = flow
        self.guide = Empty()
        self.costs: dict[str, Tensor] = {}

    @property
    def capabilities(self) -> Capabilities:
        """Everything: exact density, draws and latents."""
        sizes = {"latent_dim": self.flow.latent_dim, "data_dim": prod(self.flow.event_shape)}
        return Capabilities(True, True, True, True, **sizes)

    def forward(
        self,
        x: Tensor | None = None,
        context: Tensor | None = None,
        *,
        num: int = 1,
        size: int | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Score rows ``x`` of shape ``(n, D)``, or draw ``num`` new ones when ``x`` is None.

        ``size`` is the number of rows of the whole data set and ``index`` says which of them these are: the
        log joint of a mini-batch is then an unbiased estimate of that of all rows.
        """
        n = num if x is None else len(x)
        with data_plate(n, size, index):
            flow = self.flow(context).expand(torch.Size([n]))
            self.costs = {}
            if x is not None and self.training and self.flow.penalties:
                for name, cost in flow.score_with_costs(x).items():
                    self.costs[name] = cost.detach().mean()
                    pyro.factor(f"penalty_{name}", -self.flow.penalties[name] * cost)
            return pyro.sample("x", flow, obs=x)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The exact log-density of each row of ``x``, of shape ``(n,)``, in nats."""
        with evaluating(self):
            return self.flow(context).log_prob(x)  # type: ignore[no-any-return]

    def log_prob_bound(self, x: Tensor, num_particles: int = 1, context: Tensor | None = None) -> Tensor:
        """The exact log-density: the bound is tight for any number of particles."""
        return self.log_prob(x, context)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The one latent that generates each row, of the shape of ``x``."""
        with evaluating(self):
            flow = self.flow(context)
            flow.check_value(x)
            latent: Tensor = flow.transform.inv(x)
            return latent
