# %% [markdown]
# # Why is a GAN hard to train, and what helps?
#
# Two small experiments with known answers, about half a minute on one core. The first plays the simplest game
# there is, `min over x, max over y of x y`, with the four kinds of updates of `Adversarial`: two go round or
# away from the equilibrium at the origin, two reach it. The second freezes a generator and trains the
# discriminator alone: as it becomes sure, the gradient of the minimax loss vanishes and that of the
# non-saturating loss does not; with noise on both sides neither does.

# %%
import math
import os
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

from pyro_dgm.nets import MLPCritic
from pyro_dgm.objectives import Adversarial, InstanceNoise
from pyro_dgm.objectives.losses import Minimax, NonSaturating

FAST = "PYRO_DGM_FAST" in os.environ
OUT = Path(os.environ.get("PYRO_DGM_OUT", "runs/tutorials"))
OUT.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(1)
torch.manual_seed(0)

# %% [markdown]
# ## The bilinear game
#
# A generator that draws one point, its parameter `x`, and a critic `f(x) = y x`. With data at zero the
# Wasserstein game is `x y`.


# %%
class Point(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.ones(1))

    def forward(self, num: int = 1) -> Tensor:
        return self.x.expand(num, 1)


class Slope(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.y = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.y * x).squeeze(-1)


def path(updates: str, steps: int = 200, lr: float = 0.1) -> Tensor:
    point, slope = Point(), Slope()
    pair = SGD(point.parameters(), lr), SGD(slope.parameters(), lr)
    game = Adversarial(point, slope, pair, loss="wasserstein", updates=updates)
    places = [torch.ones(2)]
    for _ in range(steps):
        game.step(torch.zeros(1, 1))
        places.append(torch.cat((point.x.detach(), slope.y.detach())))
    return torch.stack(places)


KINDS = ("simultaneous", "alternating", "extragradient", "optimistic")
paths = {kind: path(kind, 100 if FAST else 200) for kind in KINDS}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5))
for kind, places in paths.items():
    left.plot(places[:, 0], places[:, 1], lw=1, label=kind)
left.plot(0, 0, "k+", ms=12)
left.set(title="Four kinds of updates on x y", xlabel="x (generator)", ylabel="y (critic)", aspect="equal")
left.legend(loc="upper left", fontsize=8)

# %% [markdown]
# ## The vanishing gradient
#
# Data and generator lie on parallel lines: no density, so a perfect discriminator exists.


# %%
class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.ones(1))

    def forward(self, num: int = 1) -> Tensor:
        return torch.cat((self.shift.expand(num, 1), torch.rand(num, 1)), 1)


def log_gradients(noise: float, steps: int) -> dict[str, list[float]]:
    line, critic = Line(), MLPCritic((2,), (32, 32))
    regularisers = [InstanceNoise(noise)] if noise else []
    pair = None, Adam(critic.parameters(), 5e-3)
    game = Adversarial(
        line,
        critic,
        pair,
        loss="minimax",
        regularisers=regularisers,
        critic_steps=10**9,
        on_divergence="ignore",  # a perfect discriminator is what we want to see
    )
    found: dict[str, list[float]] = {"minimax": [], "non-saturating": []}
    for _ in range(steps):
        game.step(torch.cat((torch.zeros(128, 1), torch.rand(128, 1)), 1))
        rows = line(128) + noise * torch.randn(128, 2)
        for name, loss in {"minimax": Minimax(), "non-saturating": NonSaturating()}.items():
            (gradient,) = torch.autograd.grad(loss.generator(critic(rows)), line.shift, retain_graph=True)
            found[name].append(math.log10(abs(gradient.item()) + 1e-12))
    return found


steps = 150 if FAST else 400
without, noisy = log_gradients(0.0, steps), log_gradients(0.5, steps)
for name, values in without.items():
    right.plot(values, lw=1, label=name)
for name, values in noisy.items():
    right.plot(values, lw=1, ls=":", label=f"{name}, noise 0.5")
right.set(title="The generator's gradient as d is trained", xlabel="updates of d", ylabel="log10 of its norm")
right.legend(fontsize=8)
figure.tight_layout()
figure.savefig(OUT / "adversarial_saddle.png", dpi=130)

# %%
radius = {kind: places[-1].norm().item() / math.sqrt(2) for kind, places in paths.items()}
print("distance from the equilibrium, at first 1:", {k: round(v, 3) for k, v in radius.items()})
print("log10 gradient at the end:", {k: round(v[-1], 2) for k, v in without.items()})
print("with noise:", {k: round(v[-1], 2) for k, v in noisy.items()})
assert radius["simultaneous"] > 1.5
assert 0.8 < radius["alternating"] < 1.3
assert max(radius["extragradient"], radius["optimistic"]) < 0.7
assert without["minimax"][-1] < without["non-saturating"][-1] - 1
assert noisy["minimax"][-1] > without["minimax"][-1] + 1
