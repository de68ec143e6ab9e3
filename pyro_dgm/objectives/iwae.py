"""Importance-weighted bounds that stay bounds on batches."""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn

from pyro_dgm.arguments import explains_options, positive_int
from pyro_dgm.guides import AmortizedGuide
from pyro_dgm.models import VAE
from pyro_dgm.naming import unregistered
from pyro_dgm.objectives.batch import Batch, as_batch
from pyro_dgm.objectives.elbo import ELBO
from pyro_dgm.objectives.latent_bound import is_direct
from pyro_dgm.objectives.particles import Particles, direct_particles, traced_particles

__all__ = ["IWAE"]

Gradient = Literal["standard", "stl", "dreg"]


class IWAE(nn.Module):
    r"""Negative importance-weighted bound of a batch, in nats per row.

    .. math:: -\frac{1}{n} \sum_i \frac{1}{1 - \alpha} \log \frac{1}{K} \sum_{k=1}^K w_{ik}^{1 - \alpha},
              \qquad w_{ik} = \frac{p(x_i, z_{ik})}{q(z_{ik} \mid x_i)}, \quad z_{ik} \sim q(z \mid x_i)

    With :math:`\alpha = 0` it is the IWAE's bound, otherwise Rényi's; with one particle either is the ELBO.
    Its expectation is a lower bound of :math:`\log p` that does not fall as ``K`` grows. The logarithm is
    taken row by row, inside the plate ``data``, and the plate's scale acts outside: on a batch it is an
    unbiased estimate of the bound of all rows. (``pyro.infer.RenyiELBO`` scales inside the logarithm, and
    its values on a batch can lie above :math:`\log p`.)

    **Gradients.** ``"standard"`` differentiates the bound. As ``K`` grows the guide's part of it drowns in
    noise; ``"dreg"`` is an unbiased estimate of the same gradient whose noise does not, since it leaves out
    the score of the guide and weighs the paths by :math:`\alpha \tilde w + (1 - \alpha) \tilde w^2`.
    ``"stl"`` leaves the score out and keeps the weights: without noise where the guide is exact, and biased
    for the guide when ``K > 1``. For a guide that is a flow the last two take its inverse. Handlers around
    the loss, such as ``poutine.scale``, do not act inside it.

    Args:
        model: A Pyro model that is an ``nn.Module``, called as ``model(x, context, size=N, index=index)``,
            all of whose sites lie in the plate ``data``.
        guide: Its guide, reparameterised. The model's own ``guide`` by default.
        num_particles: Number ``K`` of draws of each row.
        alpha: Order of Rényi's divergence, in [0, 1).
        gradient: Which estimate of the gradient.
        max_plate_nesting: Number of nested plates of the model, ``data`` included.

    Attributes:
        terms: Of the last loss, without gradients: ``negative_elbo``, what one particle would have given.

    Raises:
        TypeError: If model or guide is no ``nn.Module``, or a latent cannot be reparameterised.
        ShapeError: If a site has not one log-density per row.
        ValueError: If an option is out of range.

    Reference:
        Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016.
        https://arxiv.org/abs/1509.00519
        Li and Turner, Rényi Divergence Variational Inference, NeurIPS 2016. https://arxiv.org/abs/1602.02311
        Roeder, Wu and Duvenaud, Sticking the Landing, NeurIPS 2017. https://arxiv.org/abs/1703.09194
        Tucker, Lawson, Gu and Maddison, Doubly Reparameterized Gradient Estimators for Monte Carlo
        Objectives, ICLR 2019. https://arxiv.org/abs/1810.04152

    Example:
        >>> from pyro_dgm.guides import AmortizedNormal
        >>> from pyro_dgm.nets import MLPDecoder, MLPEncoder
        >>> vae = VAE(MLPDecoder(2, (4,)), 2, guide=AmortizedNormal(MLPEncoder((4,), 2)))
        >>> IWAE(vae, num_particles=50)(torch.ones(3, 4)).shape
        torch.Size([])
    """

    @explains_options
    def __init__(
        self,
        model: nn.Module,
        guide: nn.Module | None = None,
        *,
        num_particles: int = 50,
        alpha: float = 0.0,
        gradient: Gradient = "dreg",
        max_plate_nesting: int = 1,
    ) -> None:
        super().__init__()
        num_particles = positive_int("num_particles", num_particles)
        max_plate_nesting = positive_int("max_plate_nesting", max_plate_nesting)
        if not 0 <= alpha < 1:
            raise ValueError(f"alpha must be in [0, 1), but is {alpha}: elsewhere there is no lower bound.")
        if gradient not in ("standard", "stl", "dreg"):
            raise ValueError(f"gradient must be 'standard', 'stl' or 'dreg', but is {gradient!r}.")
        # checks both, finds out which arguments they take, and blames a site when something is not finite
        self.elbo = ELBO(model, guide)
        self.num_particles, self.alpha, self.gradient = num_particles, alpha, gradient
        self.max_plate_nesting = max_plate_nesting
        self.terms: dict[str, Tensor] = {}

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.elbo.model

    @property
    def guide(self) -> nn.Module:
        """The guide."""
        return self.elbo.guide

    def forward(self, batch: Batch | Tensor) -> Tensor:
        """Return the loss of the batch, a scalar in nats per row."""
        return -self.bound(batch).mean()

    def bound(self, batch: Batch | Tensor) -> Tensor:
        """Return the bound of each row of the batch, of shape ``(n,)``, in nats."""
        particles = self._particles(as_batch(batch))
        log_weight, power = particles.log_weight, 1 - self.alpha
        self.terms = {"negative_elbo": -log_weight.detach().mean()}
        if self.gradient == "dreg" and torch.is_grad_enabled():
            self._weigh_paths(particles)
        return (torch.logsumexp(power * log_weight, 0) - math.log(self.num_particles)) / power

    @torch.no_grad()
    def evaluate_loss(self, batch: Batch | Tensor) -> float:
        """Return the loss of the batch as a float, without gradients and in evaluation mode."""
        from pyro_dgm.models import evaluating

        with evaluating(self):
            return self(batch).item()  # type: ignore[no-any-return]

    def blame(self, batch: Batch | Tensor) -> str | None:
        """Name the first site of model or guide whose log-density is not finite on the batch, if any."""
        return self.elbo.blame(batch)

    def _particles(self, batch: Batch) -> Particles:
        constant = self.gradient != "standard" and torch.is_grad_enabled()
        with unregistered():
            if is_direct(self.model, self.guide):
                vae, guide = cast(VAE, self.model), cast(AmortizedGuide, self.guide)
                return direct_particles(vae, guide, batch, self.num_particles, constant=constant)
            args, kwargs = self.elbo.arguments(batch)
            return traced_particles(
                self.model,
                self.guide,
                args,
                kwargs,
                self.num_particles,
                constant=constant,
                max_plate_nesting=self.max_plate_nesting,
            )

    def _weigh_paths(self, particles: Particles) -> None:
        """Multiply the gradient at each draw, beyond its weight in the bound, by what DReG asks for."""
        if len(particles.latents) != 1:
            raise TypeError(
                f"gradient='dreg' needs one latent site, but the guide has {len(particles.latents)}: through "
                "a chain of sites the weights would multiply. Use 'stl' or 'standard', or join the sites."
            )
        z = particles.latents[0]
        if not z.requires_grad:
            return
        weights = ((1 - self.alpha) * particles.log_weight.detach()).softmax(0)
        factor = self.alpha + (1 - self.alpha) * weights
        between, event = [1] * (particles.nesting - 1), [1] * (z.dim() - particles.nesting - 1)
        factor = factor.reshape(len(factor), *between, factor.shape[1], *event)
        z.register_hook(lambda gradient: gradient * factor)
