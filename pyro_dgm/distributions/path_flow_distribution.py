"""A flow's distribution whose own draws are scored without the score-function term."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Size, Tensor, nn

from pyro_dgm.distributions.flow_distribution import FlowDistribution

__all__ = ["PathFlowDistribution"]


class PathFlowDistribution(FlowDistribution):
    r"""A flow's distribution for guides: ``log_prob`` holds the flow's parameters fixed.

    In the gradient of the ELBO at a reparameterised draw :math:`z = g_\theta(\epsilon)`,

    .. math:: \nabla_\theta \log q_\theta(z) = \partial_z \log q_\theta(z)\, \partial_\theta z
                                              + \partial_\theta \log q_\theta(z),

    the last term is the score. It has mean zero and is left out here ("sticking the landing"): the rest has
    no variance where the guide equals the posterior. The price is a density pass for each draw, which the
    memo of :class:`FlowDistribution` saves otherwise, and for an inverse autoregressive flow that is one pass
    of its networks *for each coordinate*.

    Only for guides whose sites are drawn by ``rsample``: the parameters of a model would not train.

    Args:
        make: Makes the distribution with the parameters of the moment; called again for each density, since a
            bijection may hold tensors that were computed from them. A context belongs in it, detached.
        owner: The module that holds every parameter.

    Reference:
        Roeder, Wu and Duvenaud, Sticking the Landing, NeurIPS 2017. https://arxiv.org/abs/1703.09194
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, make: Callable[[], FlowDistribution], owner: nn.Module) -> None:
        drawn = make()
        super().__init__(drawn.base_dist, drawn.transform, validate_args=drawn._validate_args)
        self.make, self.owner = make, owner

    def expand(self, batch_shape: Size, _instance: None = None) -> PathFlowDistribution:
        """Return this distribution with a larger ``batch_shape``; itself if it has that shape."""
        batch_shape = Size(batch_shape)
        if batch_shape == self.batch_shape:
            return self
        make = self.make
        return PathFlowDistribution(lambda: make().expand(batch_shape), self.owner)

    def rsample(self, sample_shape: Size | tuple[int, ...] = ()) -> Tensor:
        """Draw samples through which gradients reach the base and the bijection; nothing is kept."""
        x: Tensor = self.base_dist.rsample(Size(sample_shape))
        y: Tensor = self.transform(x)
        return y

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of ``value``, in nats; its gradient reaches the value alone."""
        trained = [p for p in self.owner.parameters() if p.requires_grad]
        try:
            for p in trained:
                p.requires_grad_(False)  # what is recorded now is what backward will reach
            return self.make().log_prob(value)
        finally:
            for p in trained:
                p.requires_grad_(True)
