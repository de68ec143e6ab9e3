# %% [markdown]
# # A Wasserstein GAN: when is the critic's value a distance?
#
# **Question.** A Wasserstein GAN minimises a distance, it is said. Is what its critic prints that distance?
#
# **What you will see.** On two normals shifted by 2, where the distance is 2: a critic with a gradient
# penalty prints it, and one with clipped weights prints a hundredth of it, until the value is divided by
# the critic's own slope. On parallel lines: the Wasserstein distance falls as they meet, the
# Jensen-Shannon divergence does not. On digits: samples, and again value and slope. And the batch estimate
# of the distance, which prefers averages of images to images.
#
# **How long.** About seventy seconds on one core; fifteen with `PYRO_DGM_FAST=1`.

# %%
import math
import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Adam, RMSprop

from pyro_dgm import data, metrics, nets, plotting
from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.objectives import Adversarial, GradientPenalty, WeightClipping
from pyro_dgm.training import fit

FAST = "PYRO_DGM_FAST" in os.environ
OUT = Path(os.environ.get("PYRO_DGM_OUT", "runs/tutorials"))
OUT.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(1)
torch.manual_seed(0)

# %% [markdown]
# ## A critic that is to find a known distance
# The duality asks for a critic of slope at most one: `W1 = max E f(x) - E f(g(z))`. The penalty holds the
# slope near one. Clipping to 0.01, *after* the update so that the generator sees clipped weights, bounds
# it by a number that depends on the network.


# %%
class Shifted(nn.Module):
    """Draws from N(0, I): the data are the same moved by 2."""

    def forward(self, num: int = 1) -> Tensor:
        return torch.randn(num, 2)


def measured(regulariser, optimizer, steps):
    """Value and slope of a critic that is trained alone, on fresh samples at the end."""
    torch.manual_seed(0)
    critic = nets.MLPCritic((2,), (64, 64))
    game = Adversarial(
        Shifted(),
        critic,
        (Adam([nn.Parameter(torch.zeros(1))]), optimizer(critic.parameters())),  # nothing to train there
        loss="wasserstein",
        regularisers=[regulariser],
        critic_steps=10**9,  # the generator never moves
        on_divergence="ignore",
    )
    move = torch.tensor([2.0, 0.0])
    for _ in range(steps):
        game.step(torch.randn(256, 2) + move)
    x, y = torch.randn(5000, 2) + move, torch.randn(5000, 2)
    value = (critic(x).mean() - critic(y).mean()).item()
    t = torch.rand(5000, 1)
    between = (t * x + (1 - t) * y).requires_grad_()
    slope = torch.autograd.grad(critic(between).sum(), between)[0].norm(dim=1).max().item()
    return value, slope


steps = 100 if FAST else 1500
penalised = measured(GradientPenalty(10.0), lambda p: Adam(p, 1e-3, betas=(0.0, 0.9)), steps)
clipped = measured(WeightClipping(0.01), lambda p: RMSprop(p, 5e-4), steps)
for name, (value, slope) in {"gradient penalty": penalised, "clipping": clipped}.items():
    print(f"{name:17} value {value:9.5f}, largest slope {slope:8.5f}, value / slope {value / slope:.3f}")
print("the distance is 2")

# %% [markdown]
# ## Parallel lines
# Two vertical lines at distance theta: the densities share no point, so the Jensen-Shannon divergence is
# log 2 however near they are. The transport is theta.

# %%
u = torch.rand(1000)
shifts = [1.0, 0.5, 0.1, 0.02]
moved = [
    metrics.sliced_wasserstein(
        torch.stack((torch.full_like(u, theta), u), 1), torch.stack((torch.zeros_like(u), u), 1), seed=0
    ).value
    for theta in shifts
]
for theta, value in zip(shifts, moved, strict=True):
    print(f"theta {theta:4.2f}: sliced W1 {value:.4f} (2 / pi times theta), JS {math.log(2):.4f}")

# %% [markdown]
# ## Digits
# No batch normalisation in the critic: with it a score depends on the batch and is no function of one image.

# %%
digits = data.digits()
gan = ImplicitGenerator(nets.MLPDecoder(16, (1, 8, 8), (256, 256), output="sigmoid"), 16)
untrained = gan.sample(500, seed=0)
critic = nets.MLPCritic((1, 8, 8), (256, 256))
pair = tuple(Adam(net.parameters(), 1e-3, betas=(0.0, 0.9)) for net in (gan, critic))
game = Adversarial(
    gan,
    critic,
    pair,
    loss="wasserstein",
    regularisers=[GradientPenalty(10.0)],
    critic_steps=2,
    average=0.995,
)
history = fit(game, digits, steps=40 if FAST else 5000, batch_size=64, progress=False)
drawn = game.averaged.sample(500, seed=1)
plotting.image_grid(drawn[:64]).figure.savefig(OUT / "wgan_samples.png", dpi=120)
ratio = [v / s for v, s in zip(history["value"].tolist(), history["slope"].tolist(), strict=True)]
axes = plotting.training_curve({"value / slope": ratio}, floors={"equal": 0.0}, ylabel="units of the data")
axes.figure.savefig(OUT / "wgan_value.png", dpi=120)

order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(0))
real = digits.train[order[:500]]
distance = metrics.energy_distance(drawn, real, floor=metrics.real_floor(digits.train, 500))
print("energy distance:", f"{distance:.4f}")
print(metrics.pinned_classifier("digits").class_histogram(drawn))

# %% [markdown]
# ## Is the batch distance what we want to minimise?
# The exact distance between two batches of *real* digits is far from zero, and averages of ten digits that
# look alike are nearer to a batch. Minimising it exactly would make averages; the critic, which is far
# from exact, does not.

# %%
test = digits.test[torch.randperm(len(digits.test), generator=torch.Generator().manual_seed(0))]
some = digits.train[order[:64]].flatten(1)
alike = torch.cdist(some, digits.train.flatten(1)).topk(10, largest=False).indices
averages = digits.train[alike].mean(1)
w_real = metrics.batch_wasserstein(test[:64], test[64:128], batch=64).value
w_mean = metrics.batch_wasserstein(averages, test[64:128], batch=64).value
print(f"W1 of batches of 64: real digits {w_real:.3f}, averages {w_mean:.3f}")

# %% [markdown]
# ## Exercises
# 1. Set the clipping box to 0.1. Value and slope grow together; what of their ratio?
# 2. Put `norm="batch"` into a `ConvCritic` with the penalty, and read what is said.
# 3. `GradientPenalty(10.0, one_sided=True)`: does the ratio on the two normals change?

# %% [markdown]
# ## The numbers to take away
# Divided by its slope, the penalised critic's value is the distance; clipped weights give a small number that
# is none; and the transport between parallel lines is proportional to their distance.

# %%
assert FAST or 0.93 * 2 < penalised[0] / penalised[1] < 1.02 * 2, penalised
assert clipped[0] < 0.5, clipped
assert all(abs(m / theta - 2 / math.pi) < 0.06 for m, theta in zip(moved, shifts, strict=True)), moved
assert w_mean < w_real, (w_mean, w_real)
assert FAST or distance.high < 0.06, distance
