"""Inverse autoregressive flow."""

from __future__ import annotations

from collections.abc import Sequence

from torch.distributions.constraints import Constraint

from pyro_dgm.flows.autoregressive_flow import AutoregressiveFlow
from pyro_dgm.transforms import Gated

__all__ = ["IAF"]


class IAF(AutoregressiveFlow):
    """Each layer mixes each coordinate with a value that the layer's earlier inputs choose.

    A draw, and the density of what was drawn, cost one pass of each conditioner: made for guides. The density
    of foreign data is sequential in the coordinates.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        num_layers: Number of layers.
        hidden_dims: Widths of the hidden layers of each masked network.
        initial_gate: Initial logit of the gates; between 1 and 2 a fresh flow is near the identity.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling, Improving Variational Inference with
        Inverse Autoregressive Flow, NeurIPS 2016. https://arxiv.org/abs/1606.04934

    Example:
        >>> import torch
        >>> z, log_q = IAF(5, context_dim=3)(torch.zeros(2, 3)).rsample_and_log_prob()
        >>> z.shape, log_q.shape
        (torch.Size([2, 5]), torch.Size([2]))
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        num_layers: int = 4,
        hidden_dims: Sequence[int] = (128, 128),
        initial_gate: float = 1.5,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            input_dim,
            Gated(initial_gate),
            "latent",
            context_dim,
            num_layers=num_layers,
            hidden_dims=hidden_dims,
            support=support,
            name=name,
        )
