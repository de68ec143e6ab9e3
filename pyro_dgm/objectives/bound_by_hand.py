"""The evidence lower bound of the commonest VAE as one operation, with its derivatives by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.distributions.row_log_mass import entry_log_mass, row_log_mass
from pyro_dgm.eager import is_batched, is_eager
from pyro_dgm.guides import AmortizedGuide, AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.nets import MLP, MLPDecoder, MLPEncoder
from pyro_dgm.nets.layers_by_hand import LayersByHand, layers_by_hand
from pyro_dgm.nets.rectified_by_hand import is_as_written
from pyro_dgm.through_formula import through_formula

__all__ = ["BoundByHand", "bound_by_hand"]

_ENCODE, _DECODE, _MAP = MLPEncoder.forward, MLPDecoder.forward, MLP.forward


class BoundByHand(NamedTuple):
    r"""Minus the bound of rows of binary entries, per row, with a perceptron on either side of the latent.

    .. math::
        -\frac{1}{n} \sum_i \Bigl( \log p(x_i | z_i) - w \, \mathrm{KL}_i \Bigr), \qquad
        z_i = \mu_i + \sigma_i \epsilon_i, \quad (\mu_i, \log \sigma_i^2) = e(x_i)

    where the divergence from N(0, I) is :math:`\log q(z_i | x_i) - \log p(z_i)` or the closed form. The same
    numbers come from the distributions themselves; what is saved is the graph of some forty nodes.

    Args:
        encoder: The layers of the encoder.
        decoder: The layers of the decoder.
        weight: The factor :math:`w`.
        analytic: Whether the divergence is the closed form.
    """

    encoder: LayersByHand
    decoder: LayersByHand
    weight: float
    analytic: bool

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss in nats per row, the reconstruction's part and the divergence."""
        shape = (len(x), self.decoder.sizes[0])
        noise = torch.randn(shape, dtype=x.dtype, device=x.device)
        tensors = (*self.encoder.tensors, *self.decoder.tensors)
        return _Bound.apply(self, x.flatten(1), noise, *tensors)  # type: ignore[no-any-return]

    def split(self, tensors: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        """Divide what belongs to the encoder's tensors from what belongs to the decoder's."""
        count = len(self.encoder.tensors)
        return tensors[:count], tensors[count:]

    def formula(self, x: Tensor, noise: Tensor, *tensors: Tensor) -> Tensor:
        """The loss in torch's own operations."""
        encoder, decoder = self.split(tensors)
        loc, logvar = self.encoder.formula(x, *encoder).chunk(2, -1)
        scale = (0.5 * logvar).exp()
        z = loc + noise * scale
        mass = entry_log_mass(self.decoder.formula(z, *decoder), x).sum(-1)
        return self._total(mass, loc, logvar, scale, z, noise)[0]

    def _total(
        self, mass: Tensor, loc: Tensor, logvar: Tensor, scale: Tensor, z: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self.analytic:
            divergence = loc.square() + scale.square() - logvar - 1
        else:
            divergence = z.square() - noise.square() - logvar
        reconstruction, kl = -mass.mean(), 0.5 / len(loc) * divergence.sum()
        return reconstruction + (kl if self.weight == 1.0 else self.weight * kl), reconstruction, kl

    def values(
        self, x: Tensor, noise: Tensor, tensors: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, Tensor, Tensor], list[Tensor]]:
        """Return loss and parts, and what :meth:`gradients` needs; computed without a graph."""
        encoder, decoder = self.split(tensors)
        code, of_encoder = self.encoder.values(x, encoder)
        loc, logvar = code.chunk(2, -1)
        scale = (0.5 * logvar).exp_()
        z = torch.addcmul(loc, noise, scale)
        logits, of_decoder = self.decoder.values(z, decoder)
        parts = self._total(row_log_mass(logits, x), loc, logvar, scale, z, noise)
        return parts, [loc, scale, logits, *of_encoder, *of_decoder]

    def gradients(
        self,
        g: Tensor,
        kept: Sequence[Tensor],
        x: Tensor,
        noise: Tensor,
        tensors: Sequence[Tensor],
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """Return the gradients of the tensors, where they are wanted."""
        (loc, scale, logits), rest = kept[:3], kept[3:]
        count = len(self.encoder.tensors)
        of_encoder, of_decoder = rest[: count - 1], rest[count - 1 :]
        z = of_decoder[0]
        encoder, decoder = self.split(tensors)
        g = g / len(x)
        weight, of_code = self.weight * g, any(wanted[:count])
        of_logits = logits.sigmoid().sub_(x).mul_(g)
        of_z, *of_its_tensors = self.decoder.gradients(
            of_logits, of_decoder, decoder, [of_code, *wanted[count:]]
        )
        if of_z is None:
            return [None] * count + of_its_tensors
        if self.analytic:
            of_loc = torch.addcmul(of_z, loc, weight)
            of_logvar = (of_z * noise).mul_(scale).add_(weight * (scale.square() - 1)).mul_(0.5)
        else:
            of_loc = of_z.addcmul_(z, weight)  # by way of z alone
            of_logvar = (of_loc * noise).mul_(scale).sub_(weight).mul_(0.5)
        of_output = torch.cat((of_loc, of_logvar), -1)
        found = self.encoder.gradients(of_output, of_encoder, encoder, [False, *wanted[:count]])
        return found[1:] + of_its_tensors


class _Bound(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, bound: BoundByHand, x: Tensor, noise: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        parts, kept = bound.values(x, noise, tensors)
        ctx.bound, ctx.count = bound, len(tensors)
        ctx.save_for_backward(x, noise, *tensors, *kept)
        ctx.mark_non_differentiable(*parts[1:])
        ctx.set_materialize_grads(False)
        return parts

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        x, noise, *rest = ctx.saved_tensors
        tensors, kept = rest[: ctx.count], rest[ctx.count :]
        wanted, g = ctx.needs_input_grad[3:], grads[0]
        if g is None:  # only the parts, which have no derivatives, were used
            return (None,) * len(ctx.needs_input_grad)
        if torch.is_grad_enabled() or is_batched(g):  # a derivative of this is wanted, or many at once
            found = through_formula(partial(ctx.bound.formula, x, noise), tensors, wanted, g)
            return None, None, None, *found
        return None, None, None, *ctx.bound.gradients(g, kept, x, noise, tensors, wanted)


def bound_by_hand(
    model: VAE, guide: AmortizedGuide, x: Tensor, *, weight: float, analytic: bool
) -> BoundByHand | None:
    """Return the bound of a VAE whose parts are those above; None where the distributions have to do it.

    That is where a part is another one, somebody listens to a layer, no gradient is wanted or one of the
    rows, sizes do not fit, or rows lie outside of the support: what they raise is then what the user sees.

    Args:
        model: The VAE.
        guide: Its guide.
        x: The rows, of shape ``(n, *event)``.
        weight: The factor of the divergence.
        analytic: Whether it is taken in closed form.
    """
    likelihood = model._modules.get("likelihood")
    if type(guide) is not AmortizedNormal or guide.full_covariance or guide.takes_context:
        return None
    if type(likelihood) is not Bernoulli or likelihood.event_dim != x.dim() - 1 or model.takes_context:
        return None
    if model._modules.get("learned_prior") is not None or not _is_plain(x):
        return None
    shape = tuple(x.shape[1:])
    encoder = _layers(guide._modules["encoder"], shape)
    decoder = None if encoder is None else _layers(model._modules["decoder"], shape)
    if encoder is None or decoder is None or not _fits(model.latent_dim, encoder, decoder, x):
        return None
    if Distribution._validate_args and not _in_support(x, likelihood.grey):
        return None
    return BoundByHand(encoder, decoder, weight, analytic)


def _layers(network: nn.Module | None, shape: tuple[int, ...]) -> LayersByHand | None:
    """The layers of an encoder with two outputs, or of a decoder that gives logits, for rows of a shape."""
    if type(network) is MLPEncoder:
        usual = is_as_written(network, MLPEncoder, _ENCODE) and len(network.sizes) == 2
    elif type(network) is MLPDecoder:
        usual = is_as_written(network, MLPDecoder, _DECODE) and type(network.squash) is nn.Identity
    else:
        return None
    perceptron = network.mlp
    if not usual or network.data_shape != shape or not is_as_written(perceptron, MLP, _MAP):
        return None
    return None if perceptron.context_dim else layers_by_hand(perceptron.layers)


def _is_plain(x: Tensor) -> bool:
    """Whether operations are what the code says, and their graph is wanted; not that of the rows."""
    return (
        torch.is_grad_enabled()
        and not x.requires_grad
        and is_eager(x)
        and not torch._C._len_torch_function_stack()  # half precision, or noise that belongs to rows
    )


def _fits(latent_dim: int, encoder: LayersByHand, decoder: LayersByHand, x: Tensor) -> bool:
    size = math.prod(x.shape[1:])
    return (
        len(x) > 0
        and encoder.sizes == (size, 2 * latent_dim)
        and decoder.sizes == (latent_dim, size)
        and all(t.dtype == x.dtype for t in (*encoder.tensors, *decoder.tensors))
    )


def _in_support(x: Tensor, grey: bool) -> bool:
    return bool(((x >= 0) & (x <= 1)).all() if grey else ((x == 0) | (x == 1)).all())
