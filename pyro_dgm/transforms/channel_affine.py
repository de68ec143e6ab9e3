"""A scale and a shift for each channel."""

from __future__ import annotations

from torch import Tensor

from pyro_dgm.transforms.channels import ChannelBijection

__all__ = ["ChannelAffine"]


class ChannelAffine(ChannelBijection):
    r"""Scales and shifts each channel: :math:`y = e^{s} \odot x + t`.

    A channel is an index of the event's first axis: an entry of a vector, a plane of an image. With ``n``
    entries in a channel the log-determinant is :math:`n \sum_c s_c`. Both directions are closed form.

    Args:
        shift: The shifts :math:`t`, of shape ``(C,)``.
        log_scale: The log-scales :math:`s`, of shape ``(C,)``.
        rank: Number of dimensions of an event: 1 for vectors ``(C,)``, 3 for images ``(C, H, W)``.

    Shape:
        ``x`` and ``y``: ``(*batch, C, *rest)``. Log-determinant: ``(*batch,)``, in nats.

    Example:
        >>> import torch
        >>> t = ChannelAffine(torch.zeros(3), torch.ones(3), rank=3)
        >>> t.call_and_ladj(torch.zeros(5, 3, 4, 4))[1]  # 3 channels of 16 entries
        tensor([48., 48., 48., 48., 48.])
    """

    def __init__(self, shift: Tensor, log_scale: Tensor, *, rank: int = 1) -> None:
        super().__init__(rank)
        self.shift, self.log_scale = shift, log_scale

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, then shift."""
        return x * self.over_places(self.log_scale.exp()) + self.over_places(self.shift), self._ladj(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Shift back, then scale back."""
        return (y - self.over_places(self.shift)) * self.over_places((-self.log_scale).exp()), -self._ladj(y)

    def _ladj(self, value: Tensor) -> Tensor:
        return (self.places_of(value) * self.log_scale.sum()).expand(self.batch_of(value))
