"""Masked autoregressive flow."""

from __future__ import annotations

from collections.abc import Sequence

from torch.distributions.constraints import Constraint

from pyro_dgm.flows.autoregressive_flow import AutoregressiveFlow
from pyro_dgm.transforms import Affine, MixtureOfNormals

__all__ = ["MAF"]


class MAF(AutoregressiveFlow):
    """Each coordinate is an affine function of its latent, chosen by the data's earlier coordinates.

    A density costs one pass of each conditioner; a draw is sequential in the coordinates. Fresh flows are
    the identity.

    With ``num_components`` the base is a mixture of normals (MAF MoG, and MADE MoG without further layers):
    one more layer, the nearest to the latent, whose conditionals are mixtures chosen by the earlier
    coordinates. It is the normal quantile of the mixture's distribution function, so that the latent stays
    standard normal and draws stay reparameterised; in a draw each of its entries is a safeguarded root.
    Fresh flows are then near the identity.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        num_layers: Number of affine layers.
        hidden_dims: Widths of the hidden layers of each masked network.
        num_components: Number of normals in each conditional of a mixture base; zero for none.
        max_log_scale: Bound of each layer's log-scale, in nats; of those of the normals too.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Papamakarios, Pavlakou and Murray, Masked Autoregressive Flow for Density Estimation, NeurIPS 2017.
        https://arxiv.org/abs/1705.07057

    Example:
        >>> import torch
        >>> flow = MAF(5, context_dim=3)
        >>> flow(torch.zeros(2, 3)).log_prob(torch.zeros(2, 5)).shape
        torch.Size([2])
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        num_layers: int = 5,
        hidden_dims: Sequence[int] = (128, 128),
        num_components: int = 0,
        max_log_scale: float = 3.0,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        if num_components < 0:
            raise ValueError(f"MAF needs num_components >= 0, but got {num_components}.")
        mixture = MixtureOfNormals(num_components, max_log_scale=max_log_scale) if num_components else None
        super().__init__(
            input_dim,
            Affine(max_log_scale),
            "data",
            context_dim,
            num_layers=num_layers,
            hidden_dims=hidden_dims,
            innermost=mixture,
            support=support,
            name=name,
        )
