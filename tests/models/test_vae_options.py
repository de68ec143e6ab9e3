"""Conditional VAEs, missing entries, particles, and what is said when things do not fit."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn
from torch.testing import assert_close

from pyro_dgm.distributions.likelihoods import Bernoulli, Gaussian
from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError
from pyro_dgm.flows import RealNVP
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.metrics import importance_log_likelihood
from pyro_dgm.models import VAE, impute
from pyro_dgm.nets import (
    ConvDecoder,
    ConvEncoder,
    MLPDecoder,
    MLPEncoder,
    burda_decoder,
    burda_encoder,
    lecture_decoder,
)
from pyro_dgm.training import fit

LOADINGS, NOISE = torch.tensor([[1.0], [-2.0], [0.5]]).double(), 0.5


class Linear(nn.Module):
    def forward(self, z):
        return z @ LOADINGS.T


class ExactEncoder(nn.Module):
    """The posterior of all entries; as a proposal for some of them it is off."""

    def forward(self, x):
        precision = 1 + LOADINGS.square().sum() / NOISE**2
        loc = x @ LOADINGS / NOISE**2 / precision
        return loc, (-precision.log() + 1.5).expand_as(loc)


def linear_vae():
    return VAE(Linear(), 1, likelihood=Gaussian(scale=NOISE), guide=AmortizedNormal(ExactEncoder())).double()


def test_imputations_follow_the_exact_conditional_of_a_linear_model():
    x = torch.tensor([[1.2, torch.nan, torch.nan]]).double()
    draws = impute(linear_vae(), x, x.isfinite(), num_draws=4000, num_particles=20000, seed=0)[:, 0]
    covariance = LOADINGS @ LOADINGS.T + NOISE**2 * torch.eye(3).double()
    gain = covariance[1:, :1] / covariance[0, 0]
    mean, spread = gain[:, 0] * 1.2, covariance[1:, 1:] - gain @ covariance[:1, 1:]
    assert (draws[:, 0] == x[0, 0]).all()
    error = spread.diagonal().sqrt() / math.sqrt(2000)  # some latents are chosen twice
    assert ((draws[:, 1:].mean(0) - mean).abs() < 4 * error).all()
    assert_close(draws[:, 1:].T.cov(), spread, atol=0.25, rtol=0.1)


def test_missing_entries_leave_the_likelihood_of_the_others():
    vae, z = linear_vae(), torch.randn(4, 2, 1).double()
    x, mask = torch.randn(2, 3).double(), torch.tensor([[True, False, True], [False, False, True]])
    expected = (dist.Normal(z @ LOADINGS.T, NOISE).log_prob(x) * mask).sum(-1)
    assert_close(vae.log_likelihood(x, z, mask=mask), expected)


def test_bounds_of_rows_with_missing_entries_are_those_of_the_density_of_the_others():
    vae, x = linear_vae(), torch.tensor([[1.2, torch.nan, 0.4], [torch.nan, -1.0, 0.2]]).double()
    covariance = LOADINGS @ LOADINGS.T + NOISE**2 * torch.eye(3).double()
    exact = []
    for row in x:
        seen = row.isfinite()
        part = dist.MultivariateNormal(torch.zeros(2).double(), covariance[seen][:, seen])
        exact.append(part.log_prob(row[seen]))
    found = importance_log_likelihood(vae, x, num_samples=20000, mask=x.isfinite(), seed=0)
    assert ((found.log_prob - torch.stack(exact)).abs() < 4 * found.ess.rsqrt()).all()
    # the same by Pyro's handlers, which SVI meets: a subclass with a forward of its own is traced
    traced = importance_log_likelihood(
        lambda x, mask: vae(x, mask=mask), x, guide=vae.guide, num_samples=20000, mask=x.isfinite(), seed=1
    )
    assert ((traced.log_prob - torch.stack(exact)).abs() < 4 * traced.ess.rsqrt()).all()
    bound = torch.stack([vae.log_prob_bound(x, 50, mask=x.isfinite()) for _ in range(50)]).mean(0)
    assert (bound < torch.stack(exact) + 0.02).all()
    assert (bound > torch.stack(exact) - 0.2).all()


def test_missing_entries_may_be_nan_in_training():
    vae = VAE(MLPDecoder(2, (4,), (8,)), 2, guide=AmortizedNormal(MLPEncoder((4,), 2, (8,))))
    x = torch.bernoulli(torch.full((6, 4), 0.5))
    mask = torch.rand(6, 4) < 0.6
    losses = []
    for rows in (x, x.where(mask, torch.tensor(torch.nan))):
        torch.manual_seed(0)
        losses.append(Trace_ELBO().differentiable_loss(vae, vae.guide, rows, mask=mask))
    assert losses[0] == losses[1]
    losses[1].backward()
    assert all(p.grad.isfinite().all() for p in vae.parameters())


@pytest.mark.parametrize(
    ("mask", "error", "match"),
    [
        (torch.ones(2, 3), ArgumentTypeError, "mask.bool"),
        ([[True] * 3] * 2, ArgumentTypeError, "list"),
        (torch.ones(1, 3).bool(), ShapeError, "expand_as"),
        (torch.ones(2, 2).bool(), ShapeError, r"\(2, 3\).*\(2, 2\)"),
    ],
    ids=["floats", "list", "one row", "other shape"],
)
def test_a_mask_that_is_none_is_refused_everywhere(mask, error, match):
    vae, x = linear_vae(), torch.randn(2, 3).double()
    uses = [
        lambda: vae.log_prob_bound(x, mask=mask),
        lambda: impute(vae, x, mask),
        lambda: importance_log_likelihood(vae, x, num_samples=2, mask=mask),
        lambda: vae(x, mask=mask),
        lambda: vae.guide(x, mask=mask),
    ]
    for use in uses:
        with pytest.raises(error, match=match):
            use()


def test_imputation_says_what_it_lacks():
    x = torch.tensor([[1.0, torch.nan, 0.5]]).double()
    with pytest.raises(DataError, match="row 0"):
        impute(linear_vae(), x, torch.ones(1, 3).bool())
    with pytest.raises(DataError, match="num_draws"):
        impute(linear_vae(), x, x.isfinite(), num_draws=0)
    with pytest.raises(NotImplementedError, match="no guide"):
        impute(VAE(Linear(), 1, likelihood=Gaussian()).double(), x, x.isfinite())


def test_a_vae_trains_by_svi_on_rows_with_missing_entries_marked_by_a_mask():
    vae = VAE(MLPDecoder(2, (4,), (16,)), 2, guide=AmortizedNormal(MLPEncoder((4,), 2, (16,))))
    bits = torch.bernoulli(torch.full((64, 1), 0.5))
    x, mask = bits.expand(64, 4), torch.rand(64, 4) < 0.7
    svi = SVI(vae, vae.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    filled = x.where(mask, torch.zeros(()))
    losses = [svi.step(filled, mask=mask) for _ in range(150)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    drawn = impute(vae, filled, mask, num_draws=20, seed=0)
    right = (drawn == x).float().mean(0)[~mask].mean()
    assert right > 0.75  # the four entries are one bit


@pytest.mark.parametrize("prior", [None, "flow"])
def test_a_conditional_vae_learns_what_depends_on_the_context(prior):
    encoder = MLPEncoder((2,), 2, (16,), context_dim=1)
    decoder = MLPDecoder(2, (2,), (16,), context_dim=1)
    vae = VAE(
        decoder,
        2,
        likelihood=Gaussian(scale=0.3),
        guide=AmortizedNormal(encoder, takes_context=True),
        prior=RealNVP(2, 1, num_layers=2, hidden_dims=(8,)) if prior else None,
        takes_context=True,
    )
    context = torch.randint(0, 2, (400, 1)).float()
    x = 3 * context + 0.3 * torch.randn(400, 2)
    fit(vae, (x, context), steps=250, lr=1e-2, batch_size=100, progress=False)
    drawn = [vae.sample(200, context=torch.full((200, 1), c), seed=0).mean().item() for c in (0.0, 1.0)]
    assert drawn[0] == pytest.approx(0.0, abs=0.4)
    assert drawn[1] == pytest.approx(3.0, abs=0.4)
    assert vae.log_prob_bound(x[:5], 3, context[:5]).shape == (5,)


DECODERS = {
    "mlp": lambda: MLPDecoder(2, (1, 8, 8)),
    "conv": lambda: ConvDecoder(2, (1, 8, 8), width=4, norm="group"),
    "lecture": lambda: lecture_decoder(width=4).eval(),
    "burda": lambda: burda_decoder(latent_dim=2),
}


@pytest.mark.parametrize("make", DECODERS.values(), ids=DECODERS.keys())
def test_decoders_take_any_leading_batch_dimensions(make):
    decoder, z = make().double(), torch.randn(3, 4, 5, 2).double()
    rows = decoder(z)
    assert rows.shape[:3] == (3, 4, 5)
    assert_close(rows[1, 2], decoder(z[1, 2]))
    assert decoder(z[0, 0, 0]).shape == rows.shape[3:]


def test_vectorised_particles_agree_with_single_ones():
    vae = linear_vae()
    x = torch.randn(3, 3).double()
    several = Trace_ELBO(num_particles=2000, vectorize_particles=True, max_plate_nesting=1)
    with torch.no_grad():
        values = torch.tensor([several.loss(vae, vae.guide, x) for _ in range(5)])
        single = torch.tensor([Trace_ELBO().loss(vae, vae.guide, x) for _ in range(1000)])
    error = math.hypot(values.std() / math.sqrt(5), single.std() / math.sqrt(1000))
    assert abs(values.mean() - single.mean()) < 5 * error


def test_the_networks_of_the_importance_weighted_autoencoder_have_its_sizes():
    loc, logvar = burda_encoder()(torch.zeros(2, 1, 28, 28))
    assert loc.shape == logvar.shape == (2, 50)
    assert [m.out_features for m in burda_decoder().mlp.layers if isinstance(m, nn.Linear)] == [200, 200, 784]
    assert sum(isinstance(m, nn.Tanh) for m in burda_encoder().mlp.layers) == 2


def image_vae(likelihood=None, norm=None):
    guide = AmortizedNormal(ConvEncoder((1, 8, 8), 2, width=4))
    decoder = ConvDecoder(2, (1, 8, 8), width=4, norm=norm)
    return VAE(decoder, 2, likelihood=likelihood or Bernoulli(event_dim=3), guide=guide)


@pytest.mark.parametrize("grey", [False, True])
def test_images_of_eight_bits_are_refused_with_advice(grey):
    images = torch.randint(0, 256, (6, 1, 8, 8)).float()
    with pytest.raises(DataError, match=r"between 0 and 25\d.*255.*binarize"):
        fit(image_vae(Bernoulli(event_dim=3, grey=grey)), images, steps=1, progress=False)


def test_grey_pixels_are_refused_by_a_bernoulli_likelihood():
    with pytest.raises(DataError, match="support"):
        fit(image_vae(), torch.rand(6, 1, 8, 8), steps=1, progress=False)


def test_a_decoder_for_another_latent_is_refused():
    vae = VAE(MLPDecoder(3, (4,)), 2, guide=AmortizedNormal(MLPEncoder((4,), 2)))
    with pytest.raises(ShapeError, match="latent_dim=3"):
        vae.log_prob_bound(torch.zeros(2, 4))


def test_one_row_with_batch_normalisation_is_refused_in_training_alone():
    vae, x = image_vae(norm="batch"), torch.zeros(1, 1, 8, 8)
    with pytest.raises(ShapeError, match=r"more than one row.*norm='group'"):
        fit(vae, x, steps=1, progress=False)
    assert vae.log_prob_bound(x).isfinite().all()
