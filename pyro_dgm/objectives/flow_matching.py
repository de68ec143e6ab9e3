"""Flow matching: training a continuous flow's velocity by regression, without solving anything."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pyro_dgm.errors import ShapeError, UnknownNameError
from pyro_dgm.flows import Flow
from pyro_dgm.nets import Velocity
from pyro_dgm.objectives.batch import Batch, as_whole_batch
from pyro_dgm.objectives.coupling import couple

__all__ = ["FlowMatching"]


class FlowMatching(nn.Module):
    r"""Mean squared distance between the velocity and that of straight lines from latents to data.

    .. math::
        E_{t, (z, x)} \left\lVert v_\theta(x_t, t, c) - \frac{x - z}{T} \right\rVert^2, \qquad
        x_t = \left( 1 - \frac{t}{T} \right) z + \frac{t}{T} x, \quad t \sim U(0, T)

    Its minimiser is the velocity that carries the base to the data. No step solves an ODE, so steps are
    cheap; the loss is no likelihood, and its least value, the variance of the lines through a point, is not
    zero. The flow stays the same distribution with a density, and what is left to gain in likelihood comes
    from fine-tuning it: ``fit(FlowMatching(flow), x)``, then ``fit(NormalizingFlow(flow), x)``.

    Args:
        flow: A flow along a velocity: :class:`~pyro_dgm.flows.CNF`, :class:`~pyro_dgm.flows.FFJORD`,
            :class:`~pyro_dgm.flows.OTFlow`, or a model that holds one as ``model.flow``.
        coupling: How rows are paired with latents: ``"independent"``, or ``"ot"``, the optimal assignment
            within each batch, which makes lines cross less. With a context, it pairs rows of equal context
            alone, so that the latent stays independent of the context: where all contexts differ it is the
            independent coupling.

    Raises:
        TypeError: If the flow has no velocity.

    Reference:
        Lipman, Chen, Ben-Hamu, Nickel and Le, Flow Matching for Generative Modeling, ICLR 2023.
        https://arxiv.org/abs/2210.02747. Minibatch couplings: Tong et al., Improving and Generalizing
        Flow-Based Generative Models with Minibatch Optimal Transport, TMLR 2024.
        https://arxiv.org/abs/2302.00482

    Example:
        >>> from pyro_dgm.flows import CNF
        >>> FlowMatching(CNF(2))(torch.randn(64, 2)).shape
        torch.Size([])
    """

    def __init__(self, flow: nn.Module, *, coupling: Literal["independent", "ot"] = "independent") -> None:
        super().__init__()
        flow = getattr(flow, "flow", flow)
        if not isinstance(flow, Flow) or not isinstance(getattr(flow, "velocity", None), Velocity):
            raise TypeError(
                f"flow matching trains a velocity, but {type(flow).__name__} has none: use a continuous flow "
                "such as CNF, FFJORD or OTFlow."
            )
        if coupling not in ("independent", "ot"):
            raise UnknownNameError.of("coupling", coupling, ("independent", "ot"))
        self.flow, self.coupling = flow, coupling

    def forward(self, batch: Batch | Tensor) -> Tensor:
        """Return the loss of the batch, a scalar: squared length over squared time, mean over rows."""
        batch = as_whole_batch(batch, "FlowMatching")
        self._check(batch)
        x = batch.x if self.flow.outer is None else self.flow.outer.inv(batch.x)
        velocity, context = self._velocity, batch.context
        z = torch.randn_like(x)
        if self.coupling == "ot":
            z = couple(z, x, context)
        end = max(velocity.base_time, velocity.data_time)
        # One time in each of n equal intervals: the same mean with less variance.
        share = (torch.randperm(len(x), device=x.device) + torch.rand(len(x), device=x.device)) / len(x)
        share = share.to(x).unsqueeze(1)
        found = velocity(end * share.squeeze(1), torch.lerp(z, x, share), context)
        loss: Tensor = (found - (x - z) / end).square().sum(1).mean()
        return loss

    @torch.no_grad()
    def evaluate_loss(self, batch: Batch | Tensor) -> float:
        """Return the loss of the batch as a float, without gradients."""
        return self(batch).item()  # type: ignore[no-any-return]

    def _check(self, batch: Batch) -> None:
        x, flow = batch.x, self.flow
        flow.check_context(batch.context)
        if tuple(x.shape[1:]) != tuple(flow.event_shape) or x.dtype != flow.origin.dtype:
            raise ShapeError(
                f"this flow has events of shape {tuple(flow.event_shape)} and {flow.origin.dtype}, but the "
                f"batch has shape {tuple(x.shape)} and {x.dtype}. Give rows of that shape and dtype."
            )

    @property
    def _velocity(self) -> Velocity:
        velocity: Velocity = self.flow.velocity
        return velocity
