"""Recovering what a generator made from a noisy, partial view of it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import Flow
from pyro_dgm.models.implicit_generator import ImplicitGenerator
from pyro_dgm.models.normalizing_flow import NormalizingFlow
from pyro_dgm.models.vae import VAE
from pyro_dgm.naming import NamedPyroModule, unregistered

__all__ = ["InverseProblem"]

Noise = float | Tensor | Callable[[Tensor], TorchDistribution]


class InverseProblem(NamedPyroModule):
    r"""A generative prior seen through an operator and noise: :math:`y = A(g(z)) + \epsilon`.

    Inpainting, deblurring, tomography: what is sought is x = g(z), and the posterior over the latent z says
    which x agree with y and with what the generator has learned. It is an ordinary Pyro model over ``z``: for
    NUTS, for SVI with :class:`~pyro_dgm.guides.AutoFlow`, or for
    :func:`~pyro_dgm.inference.map_estimate`.

    Sites, in the plate ``data`` of independent problems: ``z`` of event shape ``(latent_dim,)``, the
    deterministic ``x`` of the generator's event shape, and ``y``.

    Args:
        generator: What makes x: a flow, or a trained :class:`~pyro_dgm.models.VAE` (x is the mean of its
            p(x | z)), :class:`~pyro_dgm.models.ImplicitGenerator` or
            :class:`~pyro_dgm.models.NormalizingFlow`. A frozen copy in evaluation mode is taken.
        forward_operator: The map A, differentiable, from ``(*batch, *event)`` to ``(*batch, *observed)``.
        noise: Standard deviation of the normal noise, a number or a tensor of shape ``observed``; or a
            function from A(x) to the distribution of y.
        context: For a conditional generator what x is known to be, such as a class: of shape ``(C,)``, the
            same for all problems, or ``(n, C)``, one for each.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        DataError: If the noise is not positive, or operator, generator and context are on different devices.
            When called, if y is on another device than the generator.
        ShapeError: If the generator takes no such context. When called, if y does not have the shape that the
            operator gives, or are not as many as the contexts.
        TypeError: If the generator is none of these.

    Reference:
        Bora, Jalal, Price and Dimakis, Compressed Sensing using Generative Models, ICML 2017.
        https://arxiv.org/abs/1703.03208

    Example:
        >>> generator = ImplicitGenerator(nn.Linear(2, 5), latent_dim=2)
        >>> problem = InverseProblem(generator, lambda x: x[..., :3], noise=0.1)
        >>> problem(num=4).shape  # four observations, drawn from the model
        torch.Size([4, 3])
    """

    def __init__(
        self,
        generator: Flow | VAE | ImplicitGenerator | NormalizingFlow,
        forward_operator: Callable[[Tensor], Tensor],
        noise: Noise,
        *,
        context: Tensor | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.register_buffer("context", context)
        self.generator = copy.deepcopy(_kernel(generator)).requires_grad_(False).eval()
        self.forward_operator = forward_operator
        self.noise = noise if callable(noise) else _positive(noise)
        self._check_devices()
        self._check_context()
        prior = self.prior()
        with torch.no_grad():
            x = self.generate(self.generator.origin.new_zeros(prior.shape()))  # type: ignore[operator]
        self._event_dim = x.dim() - len(prior.batch_shape)

    def prior(self) -> TorchDistribution:
        """Return p(z), of event shape ``(latent_dim,)`` and batch shape that of the contexts."""
        part, context = self.generator, self.context
        prior: TorchDistribution = (part.base if isinstance(part, Flow) else part.prior)(context)  # type: ignore[operator]
        return prior if context is None else prior.expand(context.shape[:-1])

    def generate(self, z: Tensor) -> Tensor:
        """Return x = g(z), of shape ``(*batch, *event)``, for latents ``(*batch, latent_dim)``."""
        part = self.generator
        if isinstance(part, Flow):
            part.check_context(self.context)
            x: Tensor = part.transform(self.context)(z)
        elif isinstance(part, VAE):
            x = part.decode(z, self.context).mean
        else:
            x = part.generate(z, self.context)  # type: ignore[operator]
        return x

    def observation(self, x: Tensor) -> TorchDistribution:
        """Return p(y | x), of batch shape that of ``x``."""
        seen = self.forward_operator(x)
        batch = x.shape[: x.dim() - self._event_dim]
        if not isinstance(seen, Tensor) or seen.shape[: len(batch)] != batch:
            came = f"shape {tuple(seen.shape)}" if isinstance(seen, Tensor) else type(seen).__name__
            raise ShapeError(
                f"the forward operator must keep the batch dimensions on the left, as it is given x of shape "
                f"{tuple(x.shape)}, but it returned {came}. Write it for x[..., *event]."
            )
        if callable(self.noise) and not isinstance(self.noise, Tensor):
            return self.noise(seen)
        normal: TorchDistribution = dist.Normal(seen, self.noise).to_event(seen.dim() - len(batch))
        return normal

    def forward(self, y: Tensor | None = None, *, num: int = 1) -> Tensor:
        """Score observations ``y`` of shape ``(n, *observed)``, or draw ``num`` of them when y is None."""
        n = num if y is None else len(y)
        self.check_number(n)
        with pyro.plate("data", n), unregistered():
            z = pyro.sample("z", self.prior())
            x = pyro.deterministic("x", self.generate(z), event_dim=self._event_dim)
            p_y = self.observation(x)
            if y is not None:
                self.check_observations(y, p_y)
            return pyro.sample("y", p_y, obs=y)

    def check_number(self, n: int) -> None:
        """Raise :class:`ShapeError` if there are contexts for another number of problems than ``n``."""
        if self.context is not None and self.context.dim() == 2 and len(self.context) != n:
            raise ShapeError(
                f"there are {n} problems, but {len(self.context)} contexts: give one to each, or one of "
                "shape (C,) to all."
            )

    def check_observations(self, y: Tensor, p_y: TorchDistribution) -> None:
        """Raise unless ``y`` are observations of this problem, which it expects to be distributed so.

        Raises:
            ShapeError: If they have another shape.
            DataError: If they are on another device.
        """
        if y.device != self.device:
            raise DataError(
                f"the generator is on {self.device}, but y is on {y.device}: move one of them with "
                ".to(device) first."
            )
        if tuple(y.shape[1:]) != tuple(p_y.event_shape):
            raise ShapeError(
                f"the forward operator gives observations of shape {tuple(p_y.event_shape)}, so y needs "
                f"shape (n, {', '.join(map(str, p_y.event_shape))}), but has {tuple(y.shape)}. Add the "
                "dimension of the problems on the left, for a single one too."
            )

    @property
    def device(self) -> torch.device:
        """The device of the generator."""
        tensors = (*self.generator.parameters(), *self.generator.buffers())
        return tensors[0].device if tensors else torch.get_default_device()

    def _check_context(self) -> None:
        context, part = self.context, self.generator
        if context is None:
            return
        if context.dim() not in (1, 2):
            raise ShapeError(
                f"context must have shape (C,), or (n, C) with one for each problem, but has "
                f"{tuple(context.shape)}."
            )
        if isinstance(part, VAE):
            of_prior: int = getattr(part.learned_prior, "context_dim", 0)
            if not part.takes_context and not of_prior:
                raise ShapeError(
                    "neither decoder nor prior of this VAE reads a context, but one came. Build it with "
                    "takes_context=True, or leave the context out."
                )

    def _check_devices(self) -> None:
        devices = {p.device for p in self.generator.parameters()}
        operator, noise = self.forward_operator, self.noise
        if isinstance(operator, nn.Module):
            devices |= {p.device for p in (*operator.parameters(), *operator.buffers())}
        if isinstance(noise, Tensor) and noise.dim():
            devices.add(noise.device)
        if self.context is not None:
            devices.add(self.context.device)
        if len(devices) > 1:
            raise DataError(
                f"generator, forward operator, noise and context must be on one device, but are on "
                f"{', '.join(sorted(map(str, devices)))}. Move them with .to(device) first."
            )


def _kernel(generator: nn.Module) -> nn.Module:
    """The part that makes x of z."""
    if isinstance(generator, NormalizingFlow):
        return generator.flow
    if isinstance(generator, Flow | VAE | ImplicitGenerator):
        return generator
    raise TypeError(
        f"the generator must be a flow, VAE, ImplicitGenerator or NormalizingFlow, but is a "
        f"{type(generator).__name__}. Wrap a plain network as ImplicitGenerator(network, latent_dim)."
    )


def _positive(noise: float | Tensor) -> Tensor:
    scale = torch.as_tensor(noise)
    if not (scale > 0).all():
        raise DataError(f"the noise's standard deviation must be positive, but its least is {scale.min()}.")
    return scale
