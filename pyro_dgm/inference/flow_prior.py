"""A flow over several named sites as the prior of the next model."""

from __future__ import annotations

from collections.abc import Mapping

import pyro
import torch
from torch import Tensor

from pyro_dgm.flows import Flow
from pyro_dgm.inference.site_vector import SiteVector
from pyro_dgm.naming import NamedPyroModule

__all__ = ["FlowPrior"]


class FlowPrior(NamedPyroModule):
    """Prior over several sites: called inside a model it draws them all, and returns them by name.

    The sites are drawn together, as one unbounded vector from the flow, at a site of its own; each site
    itself is then recorded under its name as a deterministic one. ``Predictive`` returns them; samples of
    NUTS hold the vector, which :meth:`sites` takes apart.

    Args:
        flow: The distribution of the unbounded vector.
        layout: Where each site is in the vector.
        site: Name of the site of the vector.
        name: Prefix of the parameters in Pyro's store; unique by default.
    """

    def __init__(
        self, flow: Flow, layout: SiteVector, *, site: str = "flow_prior", name: str | None = None
    ) -> None:
        super().__init__(name)
        self.flow, self.layout, self.site = flow, layout, site

    def forward(self) -> dict[str, Tensor]:
        """Sample every site; for use inside a Pyro model, outside of plates."""
        values = self.layout.unpack(pyro.sample(self.site, self.flow()))
        return {
            name: pyro.deterministic(name, value, event_dim=len(self.layout.shapes[name]))
            for name, value in values.items()
        }

    def sites(self, samples: Mapping[str, Tensor] | Tensor) -> dict[str, Tensor]:
        """Replace the vector in samples of a model, or of MCMC, by the named sites."""
        if isinstance(samples, Tensor):
            return self.layout.unpack(samples)
        rest = {name: draws for name, draws in samples.items() if name != self.site}
        return self.layout.unpack(samples[self.site]) | rest

    @torch.no_grad()
    def sample(self, n: int) -> dict[str, Tensor]:
        """Draw ``n`` values of every site, of shape ``(n, *site)``."""
        return self.layout.unpack(self.flow().sample((n,)))

    def log_prob(self, samples: Mapping[str, Tensor]) -> Tensor:
        """The log-density of draws ``(n, *site)`` in unbounded coordinates, of shape ``(n,)``, in nats."""
        log_prob: Tensor = self.flow().log_prob(self.layout.pack(samples))
        return log_prob
