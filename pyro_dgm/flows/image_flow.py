"""What the flows over images share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import torch
from torch import Tensor

from pyro_dgm.distributions import StandardBase, StandardLogistic, StandardNormal
from pyro_dgm.errors import ShapeError
from pyro_dgm.flows.flow import Flow
from pyro_dgm.transforms import Bijection, ChannelCoupling, Composed, Elementwise, Inverted, Logit, Squeeze

__all__ = ["ImageFlow"]


class ImageFlow(Flow):
    """A normalizing flow over images: the base class of the multi-scale flows.

    Args:
        event_shape: Shape ``(C, H, W)`` of an image.
        context_dim: Size of the conditioning vector, which every pixel sees; zero for none.
        context_channels: Channels of a conditioning *image* of height ``H`` and width ``W``, of which each
            pixel sees its own place. The context then has shape ``(*batch, context_channels, H, W)``.
        alpha: Margin of a last :class:`~pyro_dgm.transforms.Logit` that carries the images into the unit
            interval; none by default, for images of real numbers. With ``alpha=0.0`` the base is standard
            logistic, so that what is not changed is uniform.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        ShapeError: If ``event_shape`` is not ``(C, H, W)``, or a context does not fit.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        context_dim: int = 0,
        *,
        context_channels: int = 0,
        alpha: float | None = None,
        name: str | None = None,
    ) -> None:
        shape = tuple(event_shape)
        if len(shape) != 3 or min(shape) < 1:
            raise ShapeError(f"{type(self).__name__} needs event_shape=(C, H, W), but got {shape}.")
        if context_channels < 0 or (context_dim and context_channels):
            raise ValueError(
                f"{type(self).__name__} takes a context vector or a context image, but got context_dim="
                f"{context_dim} and context_channels={context_channels}. Concatenate them as one image."
            )
        super().__init__(prod(shape), context_dim, name=name)
        self.image_shape, self.context_channels = shape, context_channels
        self.logit = None if alpha is None else Logit(alpha)
        self.register_buffer("origin", torch.zeros(shape), persistent=False)

    @property
    def event_shape(self) -> torch.Size:
        """Shape of one image, ``(C, H, W)``."""
        return torch.Size(self.image_shape)

    @property
    def context_shape(self) -> tuple[int, ...]:
        """Shape of one context; empty for none."""
        if self.context_channels:
            return (self.context_channels, *self.image_shape[1:])
        return (self.context_dim,) if self.context_dim else ()

    def check_context(self, context: Tensor | None) -> None:
        """Raise :class:`ShapeError` unless the context is what this flow was built for."""
        if not self.context_channels:
            super().check_context(context)
            return
        self.check_tensor(context)
        if context is None or tuple(context.shape[-3:]) != self.context_shape:
            came = "none came" if context is None else f"one of shape {tuple(context.shape)} came"
            raise ShapeError(
                f"{type(self).__name__} was built with context_channels={self.context_channels} and expects "
                f"context images of shape (*batch, {', '.join(map(str, self.context_shape))}), but {came}."
            )

    def base(self, context: Tensor | None = None) -> StandardBase:
        """Return the latent's distribution, with the batch shape of the context."""
        uniform = self.logit is not None and self.logit.alpha == 0
        return (StandardLogistic if uniform else StandardNormal)(self.origin, self.batch_of(context))

    def transform(self, context: Tensor | None = None) -> Bijection:
        """Return the bijection from latent to image, given a context."""
        layers = self.unconstrained(context)
        return layers if self.logit is None else Composed([layers, self.logit])

    def batch_of(self, context: Tensor | None) -> torch.Size:
        """The batch shape of a context."""
        return torch.Size() if context is None else context.shape[: context.dim() - len(self.context_shape)]

    def check_halvings(self, num_levels: int) -> None:
        """Raise :class:`ShapeError` unless height and width can be halved ``num_levels`` times."""
        _, height, width = self.image_shape
        if num_levels < 1 or height % 2**num_levels or width % 2**num_levels:
            raise ShapeError(
                f"{type(self).__name__} halves height and width num_levels={num_levels} >= 1 times, but "
                f"event_shape is {self.image_shape}. Use fewer levels, or pad the images."
            )

    def context_map(self, context: Tensor | None) -> Tensor | None:
        """The context as an image: a vector becomes one of a single pixel."""
        return context[..., None, None] if context is not None and self.context_dim else context

    def context_channels_at(self, level: int) -> int:
        """Channels of the context map after ``level`` squeezes."""
        return self.context_dim or self.context_channels * 4**level


def coupling(
    net: Callable[..., Tensor],
    elementwise: Elementwise,
    split: int,
    change_first: bool,
    context: Tensor | None,
) -> ChannelCoupling:
    """A coupling whose conditioner is a network of the kept channels and the context map."""
    conditioner = net if context is None else partial(net, context=context)
    return ChannelCoupling(conditioner, elementwise, split, change_first=change_first)


def squeezed(part: Bijection) -> Bijection:
    """A bijection of squeezed images, as one of the images themselves."""
    return Composed([Inverted(Squeeze()), part, Squeeze()])
