"""A flow as the model of images with integer levels."""

from __future__ import annotations

import math
from math import prod
from typing import Any, NoReturn

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_dgm.errors import ShapeError
from pyro_dgm.flows import Flow
from pyro_dgm.guides import UniformDequantizer
from pyro_dgm.levels import at_level, check_levels, quantize
from pyro_dgm.models.generative_model import Capabilities, GenerativeModel, evaluating
from pyro_dgm.plates import data_plate

__all__ = ["DequantizedFlow"]


class DequantizedFlow(GenerativeModel):
    r"""Images of integer levels whose probability is the mass that a flow gives to the levels' intervals.

    .. math:: P(x) = \int_{[0, 1)^D} L^{-D}\, p\!\left(\frac{x + u}{L}\right) du

    with the density p of a flow on the unit interval and ``L`` levels. A draw is a draw of the flow, rounded
    down to its level. The place ``u`` within the levels is a latent site: the guide draws it, uniformly by
    default, and the evidence lower bound is then the bound of uniform dequantisation. Trained by SVI with
    ``Trace_ELBO``.

    Sites when images are scored, all in the plate ``data``: ``u`` of the image's shape, uniform; ``v``, the
    flow observed at ``(x + u) / L``; and the factor ``level_volume`` of :math:`-D \log L`. Together they are
    the joint density of ``x`` and ``u``. Sites when images are drawn: ``v``, and the deterministic ``x``.

    Args:
        flow: A flow whose events lie in the unit interval, such as
            ``NeuralSplineImage(shape, histogram=...)`` or ``RealNVPImage(shape, alpha=0.05)``. What
            lies beyond counts to the lowest and highest level.
        num_levels: Number of levels ``L``; 256 for 8-bit images.
        guide: What draws the places; :class:`~pyro_dgm.guides.UniformDequantizer` by default.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Theis, van den Oord and Bethge, A note on the evaluation of generative models, ICLR 2016, section 3.1.
        https://arxiv.org/abs/1511.01844

    Example:
        >>> from pyro_dgm.flows import NeuralSplineImage
        >>> flow = NeuralSplineImage((1, 4, 4), histogram=[1, 1, 1, 1], num_levels=1, hidden_channels=4)
        >>> model = DequantizedFlow(flow, num_levels=4)
        >>> x = model.sample(3)  # all levels are alike at first, so that each entry costs two bits
        >>> x.dtype, model.log_prob_bound(x) / math.log(2)
        (torch.int64, tensor([-32., -32., -32.], grad_fn=<DivBackward0>))
    """

    def __init__(
        self, flow: Flow, num_levels: int = 256, *, guide: nn.Module | None = None, name: str | None = None
    ) -> None:
        super().__init__(name)
        if num_levels < 2:
            raise ValueError(f"DequantizedFlow needs num_levels >= 2, but got {num_levels}.")
        self.flow, self.num_levels = flow, num_levels
        self.guide: Any = UniformDequantizer() if guide is None else guide

    @property
    def capabilities(self) -> Capabilities:
        """Draws, bounds and latents; the probability is an integral without a closed form."""
        size = prod(self.flow.event_shape)
        return Capabilities(False, True, True, True, latent_dim=size, data_dim=size)

    def forward(
        self,
        x: Tensor | None = None,
        context: Tensor | None = None,
        *,
        num: int = 1,
        size: int | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Score images ``x`` of shape ``(n, C, H, W)``, or draw ``num`` new ones when ``x`` is None.

        ``size`` is the number of images of the whole data set and ``index`` says which of them these are: the
        log joint of a mini-batch is then an unbiased estimate of that of all images.
        """
        n = num if x is None else len(x)
        rank = len(self.flow.event_shape)
        with data_plate(n, size, index):
            flow = self.flow(context).expand(torch.Size([n]))
            if x is None:
                levels = quantize(pyro.sample("v", flow), self.num_levels)
                return pyro.deterministic("x", levels, event_dim=rank)
            x = self._checked(x)
            u = pyro.sample("u", dist.Uniform(torch.zeros_like(self.flow.origin), 1.0).to_event(rank))
            pyro.factor("level_volume", x.new_full((n,), -self._log_volume))
            return pyro.sample("v", flow, obs=at_level(x, u, self.num_levels))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> NoReturn:
        """There is none in closed form.

        Raises:
            NotImplementedError: Always; it says what to use instead.
        """
        raise NotImplementedError(
            "the probability of an image with integer levels is an integral of the flow's density over the "
            "levels' intervals, without a closed form. Use log_prob_bound(x, num_particles=K), a lower bound "
            "in expectation that tightens as K grows, or metrics.importance_log_likelihood. The density of "
            "dequantised values is flow().log_prob."
        )

    def log_prob_bound(self, x: Tensor, num_particles: int = 1, context: Tensor | None = None) -> Tensor:
        r"""A stochastic lower bound of log P(x): importance-weighted over ``num_particles`` places.

        .. math:: \log \frac{1}{K} \sum_k \frac{L^{-D} p((x + u_k) / L)}{q(u_k | x)}, \qquad u_k \sim q(u | x)

        Its expectation is at most log P(x) and does not fall as K grows.

        Args:
            x: Images of integer levels, of shape ``(n, C, H, W)``.
            num_particles: Number ``K`` of draws for each image.
            context: What the images are conditioned on, or None.

        Returns:
            One value per image, of shape ``(n,)``, in nats.

        Raises:
            DataError: If ``x`` does not hold levels.
        """
        x = self._checked(x)
        with evaluating(self):
            places = self.guide.posterior(x, context)
            u = places.rsample(torch.Size([num_particles]))
            log_q = places.log_prob(u)
            log_p = self.flow(context).log_prob(at_level(x, u, self.num_levels)) - self._log_volume
        bound: Tensor = (log_p - log_q).logsumexp(0) - math.log(num_particles)
        return bound

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The latent of each image's levels at the middle of their intervals, of the images' shape."""
        x = self._checked(x)
        with evaluating(self):
            middle = at_level(x, torch.full_like(x, 0.5), self.num_levels)
            return self.flow(context).transform.inv(middle)  # type: ignore[no-any-return]

    @property
    def _log_volume(self) -> float:
        return prod(self.flow.event_shape) * math.log(self.num_levels)

    def _checked(self, x: Tensor) -> Tensor:
        """Images of levels in the flow's dtype."""
        if x.shape[1:] != self.flow.event_shape or x.dim() == 0:
            raise ShapeError(
                f"this model has images of shape {tuple(self.flow.event_shape)}, but x has shape "
                f"{tuple(x.shape)}: give one image a row."
            )
        check_levels(x, self.num_levels)
        return x.to(self.flow.origin.dtype)
