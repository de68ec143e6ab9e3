"""Guides that spread the levels of quantised images."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_dgm.errors import ShapeError
from pyro_dgm.flows import ImageFlow
from pyro_dgm.naming import NamedPyroModule
from pyro_dgm.plates import data_plate

__all__ = ["UniformDequantizer", "VariationalDequantizer"]


class UniformDequantizer(NamedPyroModule):
    """Guide that spreads each level uniformly: the place ``u`` within a level is uniform on [0, 1).

    It has no parameters. Sites: ``u`` of the image's shape in the plate ``data``.

    Args:
        name: Prefix of the parameters in Pyro's store; unique by default.
    """

    def posterior(self, x: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        """Return q(u | x), of batch shape ``(n,)`` and the event shape of the images."""
        like = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        uniform: dist.TorchDistribution = dist.Uniform(torch.zeros_like(like), 1.0).to_event(x.dim() - 1)
        return uniform

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        num: int = 1,
        size: int | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Draw ``u`` of shape ``(n, C, H, W)`` for the images ``x``."""
        with data_plate(len(x), size, index):
            return pyro.sample("u", self.posterior(x, context))


class VariationalDequantizer(UniformDequantizer):
    """Guide that spreads levels as the model likes best: the place ``u`` within a level follows a flow.

    The flow q(u | x) sees the image and is trained with the model; the bound is then closer than with uniform
    places wherever the model's density varies within a level.

    Args:
        flow: A flow of images in the unit interval, such as
            ``RealNVPImage(shape, context_channels=C, alpha=0.0)``, for contexts of the images' shape.
        num_levels: Number of levels of the images.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        ShapeError: If the flow takes other contexts than images of its own shape.

    Reference:
        Ho, Chen, Srinivas, Duan and Abbeel, Flow++: Improving Flow-Based Generative Models with Variational
        Dequantization and Architecture Design, ICML 2019. https://arxiv.org/abs/1902.00275
    """

    def __init__(self, flow: ImageFlow, num_levels: int = 256, *, name: str | None = None) -> None:
        super().__init__(name)
        if flow.context_channels != flow.image_shape[0]:
            raise ShapeError(
                f"VariationalDequantizer needs a flow whose context is an image of its own shape, but this "
                f"one has event_shape={flow.image_shape} and context_channels={flow.context_channels}. Build "
                f"it with context_channels={flow.image_shape[0]}."
            )
        self.flow, self.num_levels = flow, num_levels

    def posterior(self, x: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        """Return q(u | x), of batch shape ``(n,)`` and the event shape of the images."""
        places: dist.TorchDistribution = self.flow(
            (2 * x.to(self.flow.origin.dtype) + 1) / self.num_levels - 1
        )
        return places
