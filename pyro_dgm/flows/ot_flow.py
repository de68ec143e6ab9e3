"""OT-Flow: a continuous flow along the gradient of a potential, with penalised paths."""

from __future__ import annotations

from torch import Tensor
from torch.distributions.constraints import Constraint

from pyro_dgm.flows.flow import Flow
from pyro_dgm.nets import OTPotential, PotentialVelocity
from pyro_dgm.transforms import FixedSteps, OTFlowTransform

__all__ = ["OTFlow"]


class OTFlow(Flow):
    r"""A continuous flow whose velocity is the gradient of a potential, trained towards optimal transport.

    Its loss in training, in nats per datum, is

    .. math:: J_{ML} + \text{transport\_weight} \cdot L + \text{hjb\_weight} \cdot R

    with the transport cost L and the Hamilton-Jacobi-Bellman residual R of
    :class:`~pyro_dgm.transforms.OTFlowTransform`: paths become straight, so that few steps of RK4 follow
    them. In the paper's notation the weights are :math:`\alpha_0 / \alpha_1` and
    :math:`\alpha_2 / \alpha_1`. The penalties are no part of the density: evaluation never sees them.

    In training mode a solve takes ``nt_train`` steps, in evaluation mode (after ``flow.eval()``) ``nt_eval``.
    Every likelihood that is reported belongs to the finer one: at a coarse step count the integrated
    log-determinant is not that of the discrete map, and likelihoods look better than they are.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        width: Width of the potential's layers.
        depth: Number of the potential's layers, at least 2.
        rank: Rows of the potential's quadratic part; by default 10, or the size of its input if smaller.
        nt_train: Number of RK4 steps in training mode.
        nt_eval: Number of RK4 steps in evaluation mode, at least ``nt_train``.
        random_steps: Whether the ends of the steps are drawn anew in training mode, whenever the flow is
            called: the loss then rewards nothing that depends on where they are.
        transport_weight: Weight of the transport cost in the training loss; zero leaves it out.
        hjb_weight: Weight of the Hamilton-Jacobi-Bellman residual in the training loss; zero leaves it out.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Onken, Wu Fung, Li and Ruthotto, OT-Flow: Fast and Accurate Continuous Normalizing Flows via Optimal
        Transport, AAAI 2021. https://arxiv.org/abs/2006.00104

    Example:
        >>> flow = OTFlow(2).eval()
        >>> x = flow().sample((5,))
        >>> flow().log_prob(x).shape
        torch.Size([5])
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        width: int = 32,
        depth: int = 2,
        rank: int | None = None,
        nt_train: int = 4,
        nt_eval: int = 16,
        random_steps: bool = False,
        transport_weight: float = 0.1,
        hjb_weight: float = 0.5,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, context_dim, support=support, name=name)
        size = self.latent_dim
        if not 1 <= nt_train <= nt_eval:
            raise ValueError(
                f"OTFlow needs 1 <= nt_train <= nt_eval, but got {nt_train=} and {nt_eval=}: likelihoods are "
                "reported with at least the accuracy of training."
            )
        if transport_weight < 0 or hjb_weight < 0:
            raise ValueError(
                f"OTFlow needs weights that are not negative, but got {transport_weight=} and {hjb_weight=}."
            )
        self.nt_train, self.nt_eval, self.random_steps = nt_train, nt_eval, random_steps
        if transport_weight or hjb_weight:
            self.penalties = {"transport": transport_weight, "hjb": hjb_weight}
        potential = OTPotential(size, context_dim, width=width, depth=depth, rank=rank)
        self.velocity = PotentialVelocity(potential)

    @property
    def potential(self) -> OTPotential:
        """The potential of (x, t, context)."""
        return self.velocity.potential

    def unconstrained(self, context: Tensor | None = None) -> OTFlowTransform:
        """Return the solve from latent to data, given a ``context`` of shape ``(*batch, C)``."""
        steps = FixedSteps(self.nt_train if self.training else self.nt_eval)
        if self.training and self.random_steps:
            steps = FixedSteps.random(self.nt_train)
        return OTFlowTransform(self.velocity, steps, context)
