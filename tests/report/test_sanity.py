"""The report flags each bug of the lecture's code that can be seen in a trained model."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyro_dgm import data, nets
from pyro_dgm.data import two_moons
from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.flows import OTFlow, RealNVP
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE, ImplicitGenerator, NormalizingFlow
from pyro_dgm.objectives import Adversarial
from pyro_dgm.objectives.clipping import WeightClipping
from pyro_dgm.plates import data_plate
from pyro_dgm.report.sanity import game_rows, guide_rows, sanity_rows
from pyro_dgm.transforms import Bijection


def flagged(rows):
    return {row.quantity for row in rows if row.holds is False}


def perturbed(module):
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return module


class SumsAllScales(Bijection):
    """A coupling that scales one of two entries and counts the scales of both."""

    domain = codomain = dist.constraints.real_vector
    bijective = True

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call_and_ladj(self, x):
        y, ladj = self.inner.call_and_ladj(x)
        return y, ladj + 1

    def inverse_and_ladj(self, y):
        x, ladj = self.inner.inverse_and_ladj(y)
        return x, ladj - 1


class MaskForgotten(RealNVP):
    def transform(self, context=None):
        return SumsAllScales(super().transform(context))


def test_a_scale_that_the_mask_should_drop_is_seen_in_the_log_determinant_and_the_mass():
    moons = two_moons()
    x = moons.sample(200, seed=0)
    right, wrong = (perturbed(NormalizingFlow(of(2, hidden_dims=(16,)))) for of in (RealNVP, MaskForgotten))
    assert not flagged(sanity_rows("right", moons, right, x))
    assert {"log-determinant error", "mass of exp(log_prob)"} <= flagged(
        sanity_rows("wrong", moons, wrong, x)
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pyro_dgm.diagnostics.StepCountWarning")
def test_too_few_steps_of_a_continuous_flow_are_seen():
    moons = two_moons()
    torch.manual_seed(1)
    coarse = NormalizingFlow(OTFlow(2, width=16, nt_train=1, nt_eval=1))
    with torch.no_grad():
        for p in coarse.parameters():
            p.add_(0.5 * torch.randn_like(p))
    assert "change of J_ML on doubling steps" in flagged(
        sanity_rows("coarse", moons, coarse, moons.sample(200, seed=0))
    )


class WrongSpread(AmortizedNormal):
    """Draws with exp(logvar) for the standard deviation, and scores with exp(logvar / 2)."""

    def forward(self, x, context=None, *, num=1, size=None, index=None):
        q = self.posterior(x)
        with data_plate(len(x), size, index):
            z = q.mean + q.variance * torch.randn_like(q.mean)
            return pyro.sample("z", dist.Delta(z, log_density=q.log_prob(z), event_dim=1))


class MeansInEvaluation(AmortizedNormal):
    def forward(self, x, context=None, *, num=1, size=None, index=None):
        if self.training:
            return super().forward(x, context, num=num, size=size, index=index)
        q = self.posterior(x)
        with data_plate(len(x), size, index):
            return pyro.sample("z", dist.Delta(q.mean, log_density=q.log_prob(q.mean), event_dim=1))


class ConstantPerBatch(VAE):
    """Subtracts a constant of the density once for the batch instead of once for each row."""

    def log_prob_bound(self, x, num_particles=1, context=None):
        return super().log_prob_bound(x, num_particles, context) + math.log(2 * math.pi) * (1 - 1 / len(x))


class Sure(nn.Module):
    """An encoder whose variances are well below one, as those of a trained one are."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        loc, logvar = self.encoder(x)
        return loc, logvar - 2


def vae(kind=VAE, guide=AmortizedNormal):
    torch.manual_seed(0)
    encoder, decoder = Sure(nets.ConvEncoder((1, 8, 8), 2)), nets.ConvDecoder(2, (1, 8, 8))
    return kind(decoder, 2, likelihood=Bernoulli(event_dim=3), guide=guide(encoder)).eval()


DIGITS = {"grey": data.digits, "binary": lambda: data.digits(binarize="fixed")}
VAES = {
    "right": (vae, "binary", set()),
    "exp(logvar) for the std": (lambda: vae(guide=WrongSpread), "binary", {"spread of the guide's draws"}),
    "means in evaluation mode": (
        lambda: vae(guide=MeansInEvaluation),
        "binary",
        {"spread of the guide's draws"},
    ),
    "constant once a batch": (lambda: vae(ConstantPerBatch), "binary", {"bound less its definition"}),
    "cross-entropy of grey pixels": (vae, "grey", {"rows in the support of p(x | z)"}),
}


@pytest.mark.parametrize(("make", "pixels", "expected"), VAES.values(), ids=VAES.keys())
def test_what_is_wrong_with_a_vae_is_named(make, pixels, expected):
    x = DIGITS[pixels]().test[:32]
    with pyro.validation_enabled(False):
        found = flagged(guide_rows("vae", "digits", make(), x))
    assert found >= expected
    assert bool(found) == bool(expected)


class Late(WeightClipping):
    """Clips before the update: the generator meets weights outside of the box."""

    def after_critic_update(self, critic):
        super().after_critic_update(critic)
        with torch.no_grad():
            for p in critic.parameters():  # the update, after the clip
                p += 1e-4 * torch.sign(p)


def game(critic, clipping):
    generator = ImplicitGenerator(nn.Sequential(nn.Linear(2, 2)), 2)
    regularisers = [clipping] if clipping else []
    return Adversarial(generator, critic, loss="wasserstein", regularisers=regularisers, critic_steps=1)


@pytest.mark.parametrize(
    ("last", "clipping", "expected"),
    [
        ([], WeightClipping(0.01), set()),
        ([nn.Sigmoid()], None, {"critic's scores within [0, 1]"}),
        ([], Late(0.01), {"largest weight of the critic"}),
    ],
    ids=["right", "sigmoid", "clipped before the update"],
)
def test_what_is_wrong_with_a_game_is_named(last, clipping, expected):
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(), nn.Linear(8, 1), *last, nn.Flatten(0))
    objective, x = game(critic, clipping), two_moons().sample(64, seed=0)
    objective.step(x)
    assert flagged(game_rows("gan", "moons", objective, x)) == expected
