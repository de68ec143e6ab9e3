# %% [markdown]
# # One frame, three families: the metric decides the winner
#
# **Question.** Which model of small digits is best, a VAE or a GAN, and can a single number say so?
#
# **What you will see.** Both families trained on the same images and set side by side by one call: quantities
# that exist for one family alone stand in rows of their own. Then a competitor that is no model at all, the
# centres of clusters of the training images: it beats *real images* in the exact Wasserstein distance between
# batches, and loses by far in the energy distance.
#
# **How long.** About two minutes on one core; half a minute with `PYRO_DGM_FAST=1`.

# %%
import os
from pathlib import Path

import torch
from sklearn.cluster import KMeans

from pyro_dgm import data, metrics, plotting, recipes
from pyro_dgm.report import compare, plain

FAST = "PYRO_DGM_FAST" in os.environ
OUT = Path(os.environ.get("PYRO_DGM_OUT", "runs/tutorials"))
OUT.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(1)

# %% [markdown]
# ## The same data for all
# The VAE's likelihood is that of binary pixels, so both are trained on them.

# %%
digits = data.digits(binarize="threshold")
steps = {"vae": 30, "dcgan": 10} if FAST else {"vae": 2500, "dcgan": 3500}
trials = {
    name: recipes.train(recipes.get(name), digits, steps=number, progress=False)
    for name, number in steps.items()
}
for name, trial in trials.items():
    print(name, trial.model.capabilities)

# %% [markdown]
# ## One page
# Every distance is printed beside what real images score against real images. A GAN has no likelihood, and
# the page does not make one up.

# %%
found = compare(trials, digits, num=100 if FAST else 400, num_particles=10 if FAST else 200)
print("the page:", found.write(OUT / "families"))
for m in found.measurements:
    print(plain(f"{m.model:6} {m.quantity:32} {m.text} {m.unit}  ({m.limit})"))

# %% [markdown]
# ## The trap
# 64 centres of the training images, compared with batches of 64 test images, as real images are. The energy
# distance takes a sample of them, as large as the test set.

# %%
grey = data.digits()
centres = KMeans(64, n_init=1, random_state=0).fit(grey.train.flatten(1).numpy()).cluster_centers_
centres = torch.from_numpy(centres).float().reshape(-1, *grey.event_shape)
order = torch.randperm(len(grey.test), generator=torch.Generator().manual_seed(0))
test = grey.test[order[:64]]


def batch_w1(a, b):
    return metrics.batch_wasserstein(a, b, batch=64)


w1, w1_real = batch_w1(centres, test), metrics.floor_of(batch_w1, grey.test, 64, num_splits=10)
drawn = centres[torch.randint(64, (len(grey.test),), generator=torch.Generator().manual_seed(0))]
real = torch.cat([grey.train, grey.test])
energy, energy_real = metrics.energy_distance(drawn, grey.test), metrics.real_floor(real, len(grey.test))
print(f"W1 of batches:   centres {w1.value:.3f}, real images {w1_real.value:.3f}")
print(f"energy distance: centres {energy.value:.4f}, real images {energy_real.value:.4f}")
plotting.image_grid(centres, title="64 centres").figure.savefig(OUT / "centres.png", dpi=120)

# %% [markdown]
# ## The number to take away
# The centres are *nearer* to a batch of real images than other real images are, by the exact Wasserstein
# distance between batches. The energy distance, unbiased, is not taken in.

# %%
assert w1.value < w1_real.low, (w1.value, w1_real)
assert energy.value > energy_real.high, (energy.value, energy_real)
assert {m.model for m in found.likelihoods} == {"vae"}
