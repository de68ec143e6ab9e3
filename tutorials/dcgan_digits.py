# %% [markdown]
# # A DCGAN on digits: no likelihood, so what do we report?
#
# **Question.** A generator is trained against a discriminator. Its losses say nothing about its samples. What
# does?
#
# **What you will see.** The game as an objective with `.step()`; what its losses do mean, a lower bound of
# the Jensen-Shannon divergence; samples beside real digits, and the walk between two latents; the energy
# distance beside its floor, what classes a fixed classifier sees, and the same network started from a
# VAE's decoder.
#
# **How long.** About ninety seconds on one core; fifteen with `PYRO_DGM_FAST=1`.

# %%
import math
import os
from pathlib import Path

import torch
from torch.optim import Adam

from pyro_dgm import data, metrics, nets, plotting
from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE, ImplicitGenerator
from pyro_dgm.objectives import Adversarial, Watch
from pyro_dgm.training import fit

FAST = "PYRO_DGM_FAST" in os.environ
OUT = Path(os.environ.get("PYRO_DGM_OUT", "runs/tutorials"))
OUT.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(1)
torch.manual_seed(0)

# %% [markdown]
# ## The game
# The generator minimises `-E log d(g(z))`, the *non-saturating* loss, and not `E log(1 - d(g(z)))`, whose
# gradient vanishes as soon as the discriminator is sure. Both are computed from logits: the critic has no
# sigmoid. The discriminator's layer normalisation looks at one image at a time, so that its score of an image
# does not depend on the others. The samples come from averaged weights.

# %%
digits = data.digits()
LATENT, STEPS = 16, 40 if FAST else 3000


def play(generator, steps):
    torch.manual_seed(1)
    critic = nets.ConvCritic((1, 8, 8), width=32, norm="layer")
    pair = tuple(Adam(net.parameters(), 5e-4, betas=(0.5, 0.999)) for net in (generator, critic))
    watch = Watch(every=50, held_out=digits.test, on_divergence="ignore")
    game = Adversarial(generator, critic, pair, loss="non-saturating", average=0.995, watch=watch)
    history = fit(game, digits, steps=steps, batch_size=64, progress=False)
    return game, history


decoder = nets.ConvDecoder(LATENT, (1, 8, 8), output="sigmoid")
gan = ImplicitGenerator(decoder, LATENT)
untrained = gan.sample(500, seed=0)
game, history = play(gan, STEPS)
print(gan.capabilities)
print("columns of the history:", history.columns)

# %% [markdown]
# ## What the loss means
# For a fixed generator the best value of the discriminator is `2 JS - 2 log 2`. Whatever discriminator we
# have, `(J + 2 log 2) / 2` is therefore a *lower* bound of the Jensen-Shannon divergence, between 0 and
# log 2. The generator's own loss has no such meaning.

# %%
axes = plotting.training_curve(
    {"lower bound of JS": history["js_bound"].tolist()},
    floors={"log 2": math.log(2), "equal": 0.0},
    ylabel="nats",
    ylim=(-0.1, 1.1),
)
axes.figure.savefig(OUT / "dcgan_value.png", dpi=120)

# %% [markdown]
# ## Samples, and the walk between two of them

# %%
best = game.averaged
drawn = best.sample(500, seed=1)
axes = plotting.image_grid(drawn[:64], title="drawn")
axes.figure.savefig(OUT / "dcgan_samples.png", dpi=120)
axes = plotting.image_grid(digits.test[:64], title="real")
axes.figure.savefig(OUT / "dcgan_real.png", dpi=120)
z = torch.randn(2, LATENT, generator=torch.Generator().manual_seed(3))
axes = plotting.interpolation(best.generate, z[0].tolist(), z[1].tolist())
axes.figure.savefig(OUT / "dcgan_walk.png", dpi=120)

# %% [markdown]
# ## Numbers, each with its reference
# The energy distance is unbiased: two samples of real digits score zero on average, and the floor shows how
# much that varies. A classifier with fixed weights, shipped with the library, says how the classes are met.

# %%
order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(0))
real = digits.train[order[:500]]  # shuffled: the halves of a data set differ
floor = metrics.real_floor(digits.train, 500)
distance = metrics.energy_distance(drawn, real, floor=floor)
before = metrics.energy_distance(untrained, real)
print("energy distance, untrained:", f"{before:.4f}")
print("energy distance, trained:  ", f"{distance:.4f}")
print(metrics.pinned_classifier("digits").class_histogram(drawn))
print("alarms of the game:", game.watch.alarms or "none")

# %% [markdown]
# ## Does a VAE spare the beginning?
# The lecture starts a second generator from the decoder of a trained VAE, with two hundred steps of the game.

# %%
torch.manual_seed(0)
guide = AmortizedNormal(nets.ConvEncoder((1, 8, 8), LATENT))
vae = VAE(nets.ConvDecoder(LATENT, (1, 8, 8)), LATENT, likelihood=Bernoulli(event_dim=3), guide=guide)
binary = data.digits(binarize="dynamic")
fit((vae, guide), binary, steps=30 if FAST else 1500, batch_size=64, lr=2e-3, progress=False)
torch.manual_seed(0)
starts = {
    "random": ImplicitGenerator(nets.ConvDecoder(LATENT, (1, 8, 8), output="sigmoid"), LATENT),
    "vae": ImplicitGenerator.from_vae(vae),
}
early = {}
for name, generator in starts.items():
    short, _ = play(generator, 10 if FAST else 200)
    early[name] = metrics.energy_distance(short.averaged.sample(500, seed=1), real).value
print("energy distance after 200 steps:", {k: round(v, 4) for k, v in early.items()})

# %% [markdown]
# ## Exercises
# 1. `loss="minimax"`: watch the generator's gradient (`history["generator_gradient"]`) in the first steps.
# 2. `LATENT = 2`, as in the lecture. What becomes of the walk, and of the classes?
# 3. Give the critic `norm="batch"` and a `GradientPenalty(10.0)`. Read the error.

# %% [markdown]
# ## The number to take away
# The distance to real digits, far below the untrained generator's.

# %%
assert distance.value < before.value, (distance.value, before.value)
assert FAST or distance.high < 0.06, distance
assert FAST or early["vae"] < early["random"], early
