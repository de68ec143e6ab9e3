"""One small objective of each family, on rows of two numbers."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_dgm.flows import RealNVP
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE, ImplicitGenerator, NormalizingFlow
from pyro_dgm.objectives import ELBO, Adversarial, GradientPenalty


class Encoder(nn.Module):
    def __init__(self, latent_dim: int = 2) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2 * latent_dim))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.net(x).chunk(2, -1)


def unit_normal(loc: Tensor) -> dist.Independent:
    return dist.Normal(loc, 1.0).to_event(1)


def flow(seed: int = 0, dtype: torch.dtype = torch.double) -> ELBO:
    torch.manual_seed(seed)
    return ELBO(NormalizingFlow(RealNVP(2, num_layers=2, hidden_dims=(8,))).to(dtype))


def vae(seed: int = 0, dtype: torch.dtype = torch.double) -> ELBO:
    torch.manual_seed(seed)
    decoder = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    return ELBO(VAE(decoder, 2, likelihood=unit_normal, guide=AmortizedNormal(Encoder())).to(dtype))


def gan(seed: int = 0, dtype: torch.dtype = torch.double, optimizer=None) -> Adversarial:
    torch.manual_seed(seed)
    generator = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    critic = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)).to(dtype)
    model = ImplicitGenerator(generator, latent_dim=2).to(dtype)
    steps = None if optimizer is None else (optimizer(model.parameters()), optimizer(critic.parameters()))
    return Adversarial(
        model,
        critic,
        steps,
        loss="wasserstein",
        regularisers=[GradientPenalty(10.0)],
        critic_steps=2,
        average=None if optimizer else 0.9,
    )


FAMILIES = {"flow": flow, "vae": vae, "gan": gan}


def rows(n: int = 50) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 + torch.randn(n, 2, generator=generator, dtype=torch.double)


def numbers(objective) -> list[Tensor]:
    """All weights and buffers of an objective, copied."""
    state = objective.state_dict()
    parts = [state] if isinstance(objective, nn.Module) else [state["model"], state["critic"]]
    if not isinstance(objective, nn.Module) and state["average"]:
        parts.append(state["average"][0])
    return [t.detach().clone() for part in parts for t in part.values()]
