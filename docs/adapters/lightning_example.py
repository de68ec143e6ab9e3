"""Lightning trains a flow, a VAE and a WGAN-GP: their objectives, unchanged."""

from functools import partial

import lightning
import pyro.distributions as dist
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pyro_dgm.flows import RealNVP
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE, ImplicitGenerator, NormalizingFlow
from pyro_dgm.objectives import ELBO, Adversarial, GradientPenalty


class Loss(lightning.LightningModule):
    """Minimises any loss module: ELBO, IWAE, flow matching."""

    def __init__(self, objective: nn.Module, lr: float = 1e-2) -> None:
        super().__init__()
        self.objective, self.lr = objective, lr

    def training_step(self, rows: Tensor, number: int) -> Tensor:
        loss = self.objective(rows)
        self.log("loss", loss)
        return loss

    def validation_step(self, rows: Tensor, number: int) -> None:
        self.log("validation_loss", self.objective(rows), batch_size=len(rows))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.objective.parameters(), lr=self.lr)


class Game(lightning.LightningModule):
    """Lets an adversarial game step its players."""

    def __init__(self, game: Adversarial) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.game, self.model, self.critic = game, game.model, game.critic

    def training_step(self, rows: Tensor, number: int) -> None:
        steps = self.game.step(rows)._asdict()
        self.log_dict({name: value for name, value in steps.items() if value is not None})

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return list(self.game.optimizers)


class Encoder(nn.Module):
    """Location and log-variance of q(z | x)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.net(x).chunk(2, -1)


def unit_normal(loc: Tensor) -> dist.Independent:
    return dist.Normal(loc, 1.0).to_event(1)


def flow() -> Loss:
    return Loss(ELBO(NormalizingFlow(RealNVP(2, num_layers=4, hidden_dims=(32,)))))


def vae() -> Loss:
    decoder = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
    return Loss(ELBO(VAE(decoder, 2, likelihood=unit_normal, guide=AmortizedNormal(Encoder()))))


def wgan() -> Game:
    generator = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
    critic = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1), nn.Flatten(0))
    model, adam = (
        ImplicitGenerator(generator, latent_dim=2),
        partial(torch.optim.Adam, lr=1e-2, betas=(0.5, 0.9)),
    )
    game = Adversarial(
        model,
        critic,
        (adam(model.parameters()), adam(critic.parameters())),
        loss="wasserstein",
        regularisers=[GradientPenalty(10.0)],
        critic_steps=2,
    )
    return Game(game)


def trainer(**options) -> lightning.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return lightning.Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **options)


def main() -> dict[str, lightning.LightningModule]:
    """Train all three; return them."""
    torch.manual_seed(0)
    rows = 2 + 0.5 * torch.randn(600, 2)
    training, held_out = DataLoader(rows[:500], 50, shuffle=True), DataLoader(rows[500:], 100)
    trained = {}
    for name, module in {"flow": flow(), "vae": vae()}.items():
        stopping = EarlyStopping("validation_loss", patience=3)
        trainer(max_epochs=20, callbacks=[stopping]).fit(module, training, held_out)
        trained[name] = module
    trained["wgan"] = wgan()
    trainer(max_epochs=80).fit(trained["wgan"], training)
    return trained


if __name__ == "__main__":
    for name, module in main().items():
        model = module.objective.model if isinstance(module, Loss) else module.model
        print(name, "draws have the mean", model.sample(1000, seed=0).mean(0).tolist())
