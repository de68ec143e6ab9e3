"""The autoencoder against the VAE of the same networks."""

import copy

import pytest
import torch
from torch import nn

from pyro_dgm.data import digits
from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.errors import ShapeError
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.metrics import energy_distance
from pyro_dgm.models import VAE, Autoencoder
from pyro_dgm.nets import MLPDecoder, MLPEncoder
from pyro_dgm.training import fit


def test_with_the_networks_of_a_vae_it_reconstructs_better_and_samples_worse():
    data = digits(binarize="threshold")
    encoder, decoder = MLPEncoder((1, 8, 8), 8, (64,)), MLPDecoder(8, (1, 8, 8), (64,))
    likelihood = Bernoulli(event_dim=3)
    plain = Autoencoder(copy.deepcopy(encoder), copy.deepcopy(decoder), 8, likelihood=likelihood)
    vae = VAE(decoder, 8, likelihood=likelihood, guide=AmortizedNormal(encoder))
    errors, distances = [], []
    for model in (plain, vae):
        fit(model, data, steps=250, batch_size=100, lr=3e-3, progress=False)
        with torch.no_grad():
            p_x = model.decode(model.encode(data.train))
            errors.append(-p_x.log_prob(data.train).mean().item())
        drawn = model.sample(360, seed=0)
        distances.append(energy_distance(drawn, data.test, num_bootstrap=10).value)
    assert errors[0] < errors[1]
    assert distances[0] > 2 * distances[1]


def test_it_uses_the_location_of_a_vaes_encoder_as_its_code():
    encoder = MLPEncoder((4,), 2)
    model = Autoencoder(encoder, nn.Linear(2, 4), 2)
    x = torch.ones(3, 4)
    assert torch.equal(model.encode(x), encoder(x)[0])


def test_it_offers_neither_a_density_nor_a_bound():
    model = Autoencoder(nn.Linear(4, 2), nn.Linear(2, 4), 2)
    assert not model.capabilities.has_log_prob
    assert not model.capabilities.has_bound
    for call in (model.log_prob, model.log_prob_bound):
        with pytest.raises(NotImplementedError):
            call(torch.ones(3, 4))


@pytest.mark.parametrize(("latent", "size"), [(3, 4), (2, 5)])
def test_sizes_that_disagree_are_refused(latent, size):
    model = Autoencoder(nn.Linear(4, latent), nn.Linear(2, size), 2)
    with pytest.raises(ShapeError):
        model(torch.ones(3, 4))
