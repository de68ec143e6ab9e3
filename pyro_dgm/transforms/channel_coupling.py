"""Coupling of an image's channels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pyro_dgm.transforms.bijection import Bijection
from pyro_dgm.transforms.elementwise import Elementwise
from pyro_dgm.transforms.squeeze import IMAGE

__all__ = ["ChannelCoupling"]

ElementwisePass = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class ChannelCoupling(Bijection):
    r"""Changes some channels of an image entry by entry, with functions that the other channels choose.

    .. math:: y_a = x_a, \qquad y_b = f(x_b; \theta(x_a))

    The log-determinant is the sum of the log-slopes over the entries of the *changed* channels alone. Both
    directions cost one pass of the conditioner. Between two :class:`~pyro_dgm.transforms.Squeeze` a mask of
    channels is a checkerboard mask of the finer image.

    Args:
        conditioner: Maps the kept channels ``(*batch, C_a, H, W)`` to parameters ``(*batch, P * C_b, H, W)``:
            all changed channels' first parameter, then all second ones, and so on.
        elementwise: The family of functions :math:`f`, with ``P`` parameters.
        split: Number of the first channels.
        change_first: Whether the first channels are the ones that are changed; the others by default.

    Shape:
        ``x`` and ``y``: ``(*batch, C, H, W)``. Log-determinant: ``(*batch,)``, in nats.

    Reference:
        Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, section 3.4.
        https://arxiv.org/abs/1605.08803

    Example:
        >>> from pyro_dgm.transforms import Affine
        >>> t = ChannelCoupling(torch.nn.Conv2d(1, 6, 3, padding=1), Affine(), split=1)
        >>> y, ladj = t.call_and_ladj(torch.randn(5, 4, 8, 8))
        >>> y.shape, ladj.shape
        (torch.Size([5, 4, 8, 8]), torch.Size([5]))
    """

    domain = IMAGE
    codomain = IMAGE

    def __init__(
        self,
        conditioner: Callable[[Tensor], Tensor],
        elementwise: Elementwise,
        split: int,
        *,
        change_first: bool = False,
    ) -> None:
        super().__init__()
        self.conditioner, self.elementwise = conditioner, elementwise
        self.split, self.change_first = split, change_first

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Change some channels."""
        return self._change(x, self.elementwise.call)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Change them back."""
        return self._change(y, self.elementwise.inverse)

    def _change(self, x: Tensor, function: ElementwisePass) -> tuple[Tensor, Tensor]:
        first, second = x.tensor_split((self.split,), dim=-3)
        kept, changed = (second, first) if self.change_first else (first, second)
        raw = self.conditioner(kept)
        parameters = raw.unflatten(-3, (self.elementwise.num_parameters, -1)).movedim(-4, 0)
        batch = parameters.shape[1:-3]  # larger than that of x where the conditioner's context has one
        changed, log_slope = function(changed.expand(*batch, *changed.shape[-3:]), parameters)
        kept = kept.expand(*batch, *kept.shape[-3:])
        y = torch.cat((changed, kept) if self.change_first else (kept, changed), dim=-3)
        return y, log_slope.flatten(-3).sum(-1)
