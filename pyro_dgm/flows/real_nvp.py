"""RealNVP: a stack of affine couplings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn
from torch.distributions.constraints import Constraint

from pyro_dgm.flows.flow import Flow
from pyro_dgm.nets import MLP
from pyro_dgm.transforms import Affine, Bijection, ColumnStack, Coupling, Couplings
from pyro_dgm.transforms.by_hand import no_network

__all__ = ["RealNVP"]


class RealNVP(Flow):
    """Affine couplings that change the two halves of the vector in turn.

    Both directions, sampling and density, cost one pass of each conditioner. Fresh flows are the identity.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        num_layers: Number of couplings. The first changes the right part of the vector.
        hidden_dims: Widths of the hidden layers of each default conditioner.
        max_log_scale: Bound of each layer's log-scale, in nats.
        max_stretch: Bound of the positive log-scales; the same by default. Maximum likelihood does not need
            it. A guide does: nothing but its own density holds its draws back while it looks for the
            posterior, and six layers that each stretch threefold carry them away.
        split: Size of the left part, between 1 and ``D - 1``; half by default.
        conditioner: Makes other conditioners: called with the sizes of input, output and context, it
            returns a module from ``(x, context)`` to ``(*batch, output)``, whose halves are shift and raw
            log-scale.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017.
        https://arxiv.org/abs/1605.08803

    Example:
        >>> import torch
        >>> flow = RealNVP(3, context_dim=2, num_layers=4, hidden_dims=(16,))
        >>> x = flow(torch.zeros(5, 2)).sample()
        >>> flow(torch.zeros(5, 2)).log_prob(x).shape
        torch.Size([5])
    """

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        num_layers: int = 6,
        hidden_dims: Sequence[int] = (128, 128),
        max_log_scale: float = 3.0,
        max_stretch: float | None = None,
        split: int | None = None,
        conditioner: Callable[[int, int, int], nn.Module] | None = None,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, context_dim, support=support, name=name)
        size = self.latent_dim
        if num_layers < 1:
            raise ValueError(f"RealNVP needs num_layers >= 1, but got {num_layers}.")
        if split is not None and size > 1 and not 1 <= split < size:
            raise ValueError(
                f"RealNVP over {size} unbounded coordinates needs a split between 1 and {size - 1}, but got "
                f"{split}."
            )
        self.split = size // 2 if split is None or size == 1 else split
        self.elementwise = Affine(max_log_scale, max_stretch=max_stretch)
        make = conditioner or partial(_mlp, hidden_dims=hidden_dims)
        # With one coordinate there is nothing to keep: every layer changes it.
        self.turns = [bool(i % 2) and size > 1 for i in range(num_layers)]
        left, right = self.split, size - self.split
        sizes = [(right, left) if change_left else (left, right) for change_left in self.turns]
        self.conditioners = nn.ModuleList(make(kept, 2 * changed, context_dim) for kept, changed in sizes)

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the stack of couplings, given a ``context`` of shape ``(*batch, C)``."""
        return ColumnStack(
            [
                Couplings(
                    [
                        Coupling(
                            net.columns if isinstance(net, MLP) else partial(_in_columns, net),
                            self.elementwise,
                            self.split,
                            change_upper=change_left,
                            by_hand=net.by_hand if isinstance(net, MLP) else no_network,
                        )
                        for net, change_left in zip(self.conditioners, self.turns, strict=True)
                    ]
                )
            ],
            context,
        )


def _in_columns(net: nn.Module, x: Tensor, context: Tensor | None) -> Tensor:
    y = net(x.T) if context is None else net(x.T, context.T)
    return y.T.contiguous()  # type: ignore[no-any-return]


def _mlp(in_features: int, out_features: int, context_dim: int, *, hidden_dims: Sequence[int]) -> MLP:
    return MLP(in_features, out_features, hidden_dims, context_dim=context_dim, zero_last=True)
