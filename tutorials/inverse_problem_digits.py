# %% [markdown]
# # Half a digit: an inverse problem with a generative prior
#
# **Question.** The lower half of a digit is hidden, and the upper half is seen with noise. What can be
# said about the rest, and how sure can one be?
#
# **What you will see.** A VAE learns digits and becomes the prior of `y = A g(z) + noise`. NUTS over its
# latent gives whole digits that agree with the upper half; their mean, their spread, and how often
# intervals of 90 % hold the truth. Then the same digits blurred: another operator, nothing else changes.
# The most probable digit alone, from many starts, beside it.
#
# **How long.** About seventy seconds on one core; twenty-five with `PYRO_DGM_FAST=1`.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from pyro.infer import MCMC, NUTS
from torch.nn.functional import conv2d

from pyro_dgm import data, nets
from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.inference import map_estimate
from pyro_dgm.models import VAE, InverseProblem
from pyro_dgm.training import fit

FAST = "PYRO_DGM_FAST" in os.environ
OUT = Path(os.environ.get("PYRO_DGM_OUT", "runs/tutorials"))
OUT.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(1)
torch.manual_seed(0)

# %% [markdown]
# ## The prior
# Eight latents, and the mean of `p(x | z)` as the picture.

# %%
LATENT, NOISE, NUM = 8, 0.1, 10
guide = AmortizedNormal(nets.ConvEncoder((1, 8, 8), LATENT, width=8, norm=None))
decoder = nets.MLPDecoder(LATENT, (1, 8, 8), (64, 64), output="logits")
vae = VAE(decoder, LATENT, likelihood=Bernoulli(event_dim=3), guide=guide)
digits = data.digits(binarize="dynamic")
fit(vae, digits, steps=100 if FAST else 2500, schedule="cosine", progress=False)

# %% [markdown]
# ## Two operators
# The upper four rows, and a blur by a Gaussian of one pixel.

# %%
tap = torch.exp(-0.5 * torch.arange(-2.0, 3.0).square())
kernel = (tap[:, None] * tap / tap.sum() ** 2)[None, None]


def upper_half(x):
    return x[..., :4, :]


def blurred(x):
    return conv2d(x.reshape(-1, 1, 8, 8), kernel, padding=2).reshape(x.shape)


# %% [markdown]
# ## The posterior
# The truth is drawn from the prior itself, so that intervals *must* hold it as often as they say. All ten
# problems are one Pyro model with a plate; NUTS runs on all of them at once.


# %%
def solve(operator, seed):
    problem = InverseProblem(vae, operator, NOISE)
    torch.manual_seed(seed)
    with torch.no_grad():
        truth = problem.generate(problem.prior().sample((NUM,)))
        y = problem.observation(truth).sample()
    sampler = NUTS(problem, max_tree_depth=6)
    num, warm_up = (20, 20) if FAST else (200, 150)
    mcmc = MCMC(sampler, num_samples=num, warmup_steps=warm_up, disable_progbar=True)
    mcmc.run(y)
    with torch.no_grad():
        draws = problem.generate(mcmc.get_samples()["z"])
    best = map_estimate(problem, y, num_starts=4 if FAST else 16, steps=50 if FAST else 300, seed=0)
    return truth, y, draws, best


with torch.no_grad():
    from_prior = vae.decode(torch.randn(5000, LATENT)).mean
mean_image = from_prior.mean(0)
uncertain = from_prior.std(0) > 0.05
results = {}
for name, operator, hidden in (("inpainting", upper_half, slice(4, 8)), ("deblurring", blurred, slice(0, 8))):
    truth, y, draws, best = solve(operator, seed=1)
    shown = torch.zeros(1, 8, 8, dtype=torch.bool)
    shown[:, hidden] = True
    counted = uncertain & shown
    low, high = draws.quantile(torch.tensor([0.05, 0.95]), 0)
    cover = ((truth >= low) & (truth <= high))[:, counted].float().mean().item()

    def rmse(x, truth=truth, counted=counted):
        return (x - truth)[:, counted].square().mean().sqrt().item()

    results[name] = rmse(draws.mean(0)), rmse(best.x), rmse(mean_image.expand_as(truth)), cover
    print(
        f"{name}: error of the posterior mean {results[name][0]:.3f}, of the most probable digit "
        f"{results[name][1]:.3f}, of the mean image {results[name][2]:.3f}; 90 % intervals cover "
        f"{cover:.0%}; {best.agreement.mean():.0%} of the starts agree"
    )

    seen = torch.full_like(truth, 0.5)
    if name == "inpainting":
        seen[..., :4, :] = y
    else:
        seen = y
    rows = {
        "truth": truth,
        "seen": seen,
        "posterior mean": draws.mean(0),
        "posterior sd, × 3": 3 * draws.std(0),
        "most probable": best.x,
    }
    figure, axes = plt.subplots(len(rows), NUM, figsize=(NUM, 1.1 * len(rows)))
    for line, (title, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image[0], cmap="gray", vmin=0, vmax=1)
            ax.set_xticks([])
            ax.set_yticks([])
        line[0].set_ylabel(title, rotation=0, ha="right", va="center")
    figure.savefig(OUT / f"inverse_{name}.png", dpi=110, bbox_inches="tight")

# %% [markdown]
# ## Exercises
# 1. `NOISE = 0.5`: where does the spread go?
# 2. Use a GAN's generator in place of the VAE: `InverseProblem(gan, upper_half, NOISE)`.
# 3. Take real digits as the truth. Do the intervals still hold it? What does that say about the VAE?

# %% [markdown]
# ## The numbers to take away
# The posterior mean is nearer to the truth than the mean image by a factor, and the intervals are honest.

# %%
for name, (posterior, _, mean, cover) in results.items():
    assert posterior < mean, (name, posterior, mean)
    assert FAST or posterior < 0.5 * mean, (name, posterior, mean)
    assert FAST or 0.8 < cover < 0.97, (name, cover)
