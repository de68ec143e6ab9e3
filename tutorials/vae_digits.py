# %% [markdown]
# # A VAE on digits: a bound that is a bound
#
# **Question.** How well does a variational autoencoder model small binary digits, and how far is its bound
# from the likelihood itself?
#
# **What you will see.** A VAE as a pair of Pyro programs, trained by `Trace_ELBO`; its reconstructions,
# digits drawn from the prior, and the latent plane coloured by label; the evidence bound beside the
# importance-weighted estimate of log p(x), which can only be higher in expectation.
#
# **How long.** About forty seconds on one core; ten with `PYRO_DGM_FAST=1`.

# %%
import os
from pathlib import Path

import torch

from pyro_dgm import data, metrics, nets, plotting
from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.training import fit

FAST = "PYRO_DGM_FAST" in os.environ
OUT = Path(os.environ.get("PYRO_DGM_OUT", "runs/tutorials"))
OUT.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(1)

# %% [markdown]
# ## The data
# Scikit-learn's 8 x 8 digits, binarised once and for all with a seed: the name says so, since numbers on
# differently binarised data cannot be compared.

# %%
digits = data.digits(binarize="fixed")
print(digits.name, tuple(digits.train.shape), "and", tuple(digits.test.shape))

# %% [markdown]
# ## Model and guide
# The model says how digits come about: z from N(0, I), pixels from independent Bernoullis. The guide says how
# to infer z from a digit. Both are Pyro programs over the sites `z` and `x` in the plate `data`.

# %%
torch.manual_seed(0)
LATENT = 2
guide = AmortizedNormal(nets.ConvEncoder((1, 8, 8), LATENT))
vae = VAE(nets.ConvDecoder(LATENT, (1, 8, 8)), LATENT, likelihood=Bernoulli(event_dim=3), guide=guide)
history = fit((vae, guide), digits, steps=200 if FAST else 4000, batch_size=128, lr=2e-3, progress=False)
print(history)

# %% [markdown]
# ## How good is it?
# The bound is estimated with one draw of z for each digit, the likelihood with many. Their difference is how
# much the guide loses.

# %%
with torch.no_grad():
    elbo = torch.stack([vae.log_prob_bound(digits.test) for _ in range(20)]).mean(0)
estimate = metrics.importance_log_likelihood(vae, digits.test, num_samples=100 if FAST else 1000, seed=0)
print(f"ELBO {elbo.mean():.2f} nats per digit, log p(x) estimated as {estimate}")

# %%
few = digits.test[:8]
axes = plotting.reconstructions(few, vae.reconstruct(few))
axes.figure.savefig(OUT / "vae_reconstructions.png", dpi=120)
axes = plotting.image_grid(vae.sample(64, seed=1))
axes.figure.savefig(OUT / "vae_samples.png", dpi=120)
axes = plotting.latent_scatter(vae.encode(digits.test).detach(), digits.test_labels)
axes.figure.savefig(OUT / "vae_latent.png", dpi=120)

# %% [markdown]
# ## Exercises
# 1. Set `LATENT = 8`: the bound rises and the plane is gone.
# 2. Binarise with `"threshold"`: the number falls by several nats. Nothing was learned better.

# %% [markdown]
# ## The number to take away

# %%
log_p = estimate.mean
assert log_p >= elbo.mean().item(), (log_p, elbo.mean().item())
assert -log_p < (36 if FAST else 25), log_p
