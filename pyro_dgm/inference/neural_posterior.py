"""The posterior of a simulator for any data, as one conditional flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
from pyro.distributions import Delta
from pyro.distributions.util import sum_rightmost
from torch import Size, Tensor

from pyro_dgm.errors import ShapeError
from pyro_dgm.flows import Flow, Given
from pyro_dgm.inference.flow_prior import FlowPrior
from pyro_dgm.inference.program import Program
from pyro_dgm.inference.simulations import Simulations
from pyro_dgm.models.generative_model import seeded
from pyro_dgm.training import History

__all__ = ["NeuralPosterior"]


class NeuralPosterior:
    """What :func:`~pyro_dgm.inference.neural_posterior` learned: q(latents | data) for any data.

    Data are given as the value of the observed site, or by name where there are several; with one more
    dimension on the left they are many data sets.

    Args:
        flow: The conditional flow over the latents' unbounded vector, given the data's vector.
        simulations: What it was learned from, with the layouts of latents and data.
        program: The simulator, whose sites and plates the guide repeats.
        history: The history of training.
    """

    def __init__(self, flow: Flow, simulations: Simulations, program: Program, history: History) -> None:
        self.flow, self.history = flow, history
        self.layout, self.observed = simulations.layout, simulations.observed
        self._left_out = simulations.left_out
        nodes = program.trace.nodes
        self._event_dims = {name: nodes[name]["fn"].event_dim for name in self.layout.shapes}
        stacks = {name: nodes[name]["cond_indep_stack"] for name in self.layout.shapes}
        self._plates = {name: [f for f in stack if f.vectorized] for name, stack in stacks.items()}

    def context(self, data: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Lay data out as what the flow is conditioned on: ``(C,)``, or ``(n, C)`` of many data sets.

        Raises:
            ShapeError: If a value has not the shape that the simulator gives it.
            DataError: If an observed site is missing, or a value not finite.
        """
        return self.observed.pack(data).to(self.flow.origin)

    @torch.no_grad()
    def sample(
        self, data: Tensor | Mapping[str, Tensor], num_samples: int = 1000, *, seed: int | None = None
    ) -> dict[str, Tensor]:
        """Draw from the posterior of one data set: ``(num_samples, *site)``. Of many: ``(n, num, *site)``."""
        context = self.context(data)
        with seeded(seed):
            drawn = self.flow(context).sample(Size([num_samples]))
        return self.layout.unpack(drawn if context.dim() == 1 else drawn.transpose(0, 1))

    @torch.no_grad()
    def log_prob(self, samples: Mapping[str, Tensor], data: Tensor | Mapping[str, Tensor]) -> Tensor:
        """The log-density of latents ``(n, *site)`` given one data set, or each given its own; in nats.

        It is the density of the sites' own values, on their supports, and has shape ``(n,)``.
        """
        vector = self.layout.pack(samples)
        log_prob: Tensor = self.flow(self.context(data)).log_prob(vector)
        for name, part, value in self._parts(vector):
            ladj = self.layout.transforms[name].log_abs_det_jacobian(part, value)
            log_prob = log_prob - ladj.reshape(len(vector), -1).sum(-1)
        return log_prob

    def at(self, data: Tensor | Mapping[str, Tensor], *, site: str = "neural_posterior") -> FlowPrior:
        """The posterior of one data set as a prior of the next model."""
        return FlowPrior(Given(self.flow, self._single(data)).freeze(), self.layout, site=site)

    def guide(self, data: Tensor | Mapping[str, Tensor]) -> Callable[..., None]:
        """The posterior of one data set as a guide of the model conditioned on it.

        With it :func:`~pyro_dgm.inference.importance_draws`, ``independence_metropolis`` and
        :func:`~pyro_dgm.inference.trust` correct and judge the posterior, where the model has a density.

        Raises:
            NotImplementedError: If latent sites were left out: the model then has no density of the others.
        """
        if self._left_out:
            raise NotImplementedError(
                f"this posterior leaves out the latent site {self._left_out[0]!r}, and the model has no "
                "density of the others alone: a guide needs them all. Learn it without latent=."
            )
        flow = Given(self.flow, self._single(data)).freeze()

        def guide(*args: Any, **kwargs: Any) -> None:
            auxiliary: Any = {"is_auxiliary": True}
            vector = pyro.sample("neural_posterior", flow(), infer=auxiliary)
            plates: dict[str, Any] = {}
            for name, part, value in self._parts(vector):
                transform = self.layout.transforms[name]
                event_dim = self._event_dims[name]
                ladj = transform.log_abs_det_jacobian(part, value)
                ladj = sum_rightmost(ladj, ladj.dim() - (value.dim() - event_dim))
                self._sample_inside(name, plates, Delta(value, -ladj, event_dim=event_dim))

        return guide

    def _sample_inside(self, name: str, plates: dict[str, Any], value: Any) -> None:
        """Sample a site in the plates that the simulator has around it."""
        from contextlib import ExitStack

        with ExitStack() as stack:
            for frame in self._plates[name]:
                if frame.name not in plates:
                    plates[frame.name] = pyro.plate(frame.name, frame.size, dim=frame.dim)
                stack.enter_context(plates[frame.name])
            pyro.sample(name, value)

    def _parts(self, vector: Tensor) -> list[tuple[str, Tensor, Tensor]]:
        """For each site its name, its unbounded coordinates and its value.

        The batch dimensions of a vector drawn beside plates end in ones, where the plates of a site go.
        """
        parts, sizes = [], [shape.numel() for shape in self.layout.unbounded.values()]
        for (name, shape), part in zip(self.layout.unbounded.items(), vector.split(sizes, -1), strict=True):
            site = len(self.layout.shapes[name]) - self._event_dims[name]
            lead = vector.shape[:-1]
            ones = min(site, max(0, len(lead) - 1))
            lead = lead[: len(lead) - ones] if all(size == 1 for size in lead[len(lead) - ones :]) else lead
            unbounded = part.reshape([*lead, *shape])
            parts.append((name, unbounded, self.layout.transforms[name](unbounded)))
        return parts

    def _single(self, data: Tensor | Mapping[str, Tensor]) -> Tensor:
        context = self.context(data)
        if context.dim() != 1:
            raise ShapeError(f"this takes one data set, but {len(context)} came.")
        return context
