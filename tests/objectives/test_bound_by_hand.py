"""The bound of a perceptron VAE as one operation: numbers and derivatives are those of its distributions."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.nets import MLPDecoder, MLPEncoder
from pyro_dgm.objectives import ELBO, bound_by_hand, latent_bound

X = torch.bernoulli(torch.full((6, 2, 4), 0.5), generator=torch.Generator().manual_seed(1)).double()
ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.Softplus]


def make(activation=nn.Tanh, hidden=(5, 7), grey=False):
    torch.manual_seed(0)
    guide = AmortizedNormal(MLPEncoder((2, 4), 3, hidden, activation=activation))
    decoder = MLPDecoder(3, (2, 4), hidden, activation=activation)
    vae = VAE(decoder, 3, likelihood=Bernoulli(2, grey=grey), guide=guide).double()
    with torch.no_grad():
        for p in vae.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return vae


def by_hand(vae, analytic=False, weight=0.7, x=X):
    return bound_by_hand.bound_by_hand(vae, vae.guide, x, weight=weight, analytic=analytic)


def by_distributions(monkeypatch):
    monkeypatch.setattr(latent_bound, "bound_by_hand", lambda *args, **options: None)


@pytest.mark.parametrize("kl", ["sampled", "analytic"])
@pytest.mark.parametrize("hidden", [(), (5,), (5, 7)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_loss_parts_and_gradients_are_those_of_the_distributions(activation, hidden, kl, monkeypatch):
    vae, found = make(activation, hidden), []
    elbo = ELBO(vae, kl=kl, beta=0.7)
    assert by_hand(vae) is not None
    for _ in range(2):
        torch.manual_seed(3)
        loss = elbo(X)
        assert (loss.grad_fn.name() == "_BoundBackward") == (not found)
        found.append([loss, *elbo.terms.values(), *torch.autograd.grad(loss, list(vae.parameters()))])
        by_distributions(monkeypatch)
    assert_close(found[0], found[1], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("analytic", [False, True])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.Softplus])
def test_first_and_second_derivatives_are_those_of_finite_differences(activation, analytic):
    vae = make(activation, (2,))
    bound, noise = by_hand(vae, analytic), torch.randn(2, 3, dtype=torch.double)
    tensors = (*bound.encoder.tensors, *bound.decoder.tensors)

    def loss(*tensors):
        return bound_by_hand._Bound.apply(bound, X[:2].flatten(1), noise, *tensors)[0]

    assert torch.autograd.gradcheck(loss, tensors)
    assert torch.autograd.gradgradcheck(loss, tensors)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_frozen_part_gets_no_gradient_and_the_other_its_own(part, monkeypatch):
    vae, found = make(), []
    (vae.guide.encoder if part == "encoder" else vae.decoder).requires_grad_(False)
    for _ in range(2):
        vae.zero_grad()
        torch.manual_seed(3)
        ELBO(vae)(X).backward()
        found.append([p.grad for p in vae.parameters() if p.requires_grad])
        assert all(p.grad is None for p in vae.parameters() if not p.requires_grad)
        by_distributions(monkeypatch)
    assert_close(found[0], found[1], rtol=1e-11, atol=1e-12)


def test_whoever_listens_to_a_layer_hears_it():
    for place in ("guide.encoder", "decoder", "decoder.mlp", "decoder.mlp.layers.1", "decoder.mlp.layers.2"):
        vae, heard = make(), []
        vae.get_submodule(place).register_forward_hook(lambda *_: heard.append(place))  # noqa: B023
        ELBO(vae)(X)
        assert heard == [place]


def test_other_parts_are_left_to_their_distributions():
    vae = make()
    assert by_hand(vae) is not None
    assert by_hand(make(nn.SiLU)) is None
    assert by_hand(vae, x=X.float()) is None
    assert by_hand(vae, x=X[:0]) is None
    assert by_hand(vae, x=X.clone().requires_grad_()) is None
    with torch.no_grad():
        assert by_hand(vae) is None
    vae.likelihood = Bernoulli(1)
    assert by_hand(vae) is None


class Linear(nn.Linear):
    """A perceptron of one's own; it takes a context, as those in its place do."""

    def forward(self, x, context=None):
        return super().forward(x)


def test_a_perceptron_of_ones_own_is_called():
    vae = make()
    vae.guide.encoder.mlp = Linear(8, 6).double()
    assert by_hand(vae) is None
    assert ELBO(vae)(X).isfinite()


def test_rows_outside_of_the_support_or_of_another_shape_are_refused_as_ever():
    with pytest.raises(DataError, match="support of the VAE"):
        ELBO(make())(X / 2)
    assert ELBO(make(grey=True))(X / 2).grad_fn.name() == "_BoundBackward"
    with pytest.raises(ShapeError, match="rows of shape"):
        ELBO(make())(X.flatten(1))


def test_weights_that_are_not_finite_are_reported_by_the_distribution_that_meets_them():
    vae = make()
    with torch.no_grad():
        vae.guide.encoder.mlp.layers[-1].bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="Normal"):
        ELBO(vae)(X)
