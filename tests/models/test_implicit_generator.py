import copy
import pickle

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive
from torch import nn
from torch.testing import assert_close

from pyro_dgm.distributions import NormalMixture
from pyro_dgm.distributions.likelihoods import Gaussian
from pyro_dgm.errors import ArgumentTypeError, ShapeError
from pyro_dgm.flows import MAF
from pyro_dgm.models import VAE, ImplicitGenerator
from pyro_dgm.nets import MLP, ConditionalGenerator, ConvDecoder, MLPDecoder
from pyro_dgm.objectives import Adversarial


def gan(norm="batch"):
    return ImplicitGenerator(ConvDecoder(2, (1, 8, 8), width=8, norm=norm), latent_dim=2)


def test_x_is_the_generator_of_z_in_the_plate_data():
    model = gan(None)
    trace = poutine.trace(model).get_trace(num=5)
    assert_close(trace.nodes["x"]["value"], model.generator(trace.nodes["z"]["value"]))
    assert [frame.name for frame in trace.nodes["z"]["cond_indep_stack"]] == ["data"]
    assert trace.nodes["z"]["value"].shape == (5, 2)


def test_latents_are_standard_normal():
    z = poutine.trace(gan(None)).get_trace(num=4000).nodes["z"]["value"]
    assert z.mean(0).abs().max() < 4 / 4000**0.5
    assert (z.var(0) - 1).abs().max() < 4 * (2 / 4000) ** 0.5


def test_predictive_returns_both_sites():
    draws = Predictive(gan(None), num_samples=3)(num=4)
    assert (draws["z"].shape, draws["x"].shape) == ((3, 4, 2), (3, 4, 1, 8, 8))


def test_data_shape_is_read_off_the_generator_without_changing_it():
    generator = ConvDecoder(2, (1, 8, 8), width=8)
    before = copy.deepcopy(generator.state_dict())
    assert ImplicitGenerator(generator, 2).data_shape == (1, 8, 8)
    assert generator.training
    for name, value in generator.state_dict().items():
        assert_close(value, before[name])


def test_sample_is_in_evaluation_mode_without_gradients_and_gives_the_mode_back():
    model = gan()
    model.generator.layers[0].eval()
    before = copy.deepcopy(model.state_dict())
    x = model.sample(6)
    assert x.shape == (6, 1, 8, 8)
    assert not x.requires_grad
    assert model.training
    assert not model.generator.layers[0].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_rsample_is_in_training_mode_with_gradients():
    model = gan()
    x = model.rsample(6)
    assert x.requires_grad
    assert model.generator.layers[0].num_batches_tracked == 1


def test_a_seed_repeats_the_draw_and_leaves_the_global_state():
    model = gan()
    state = torch.get_rng_state()
    assert_close(model.sample(3, seed=1), model.sample(3, seed=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_drawing_leaves_the_parameter_store_empty():
    model = gan()
    model.sample(2), model.rsample(2)
    assert not list(pyro.get_param_store())


@pytest.mark.parametrize(
    "ask",
    [
        lambda m, x: m(x),
        lambda m, x: m.log_prob(x),
        lambda m, x: m.log_prob_bound(x, num_particles=5),
        lambda m, x: m.encode(x),
    ],
    ids=["observe", "log_prob", "log_prob_bound", "encode"],
)
def test_what_does_not_exist_says_why_and_what_to_use(ask):
    with pytest.raises(NotImplementedError, match=r"(no density|no encoder).*(NormalizingFlow|VAE)"):
        ask(gan(), torch.rand(3, 1, 8, 8))


def test_capabilities_are_drawing_alone():
    has = gan().capabilities
    assert (has.has_log_prob, has.has_bound, has.has_sample, has.has_encode) == (False, False, True, False)
    assert (has.latent_dim, has.data_dim) == (2, 64)


def test_a_context_reaches_the_generator():
    model = ImplicitGenerator(MLP(2, 3, (8,), context_dim=4), 2, data_shape=(3,))
    context = torch.randn(5, 4)
    assert model.sample(5, context=context).shape == (5, 3)
    assert model.distribution(context).sample().shape == (5, 3)
    assert not torch.equal(
        model.sample(5, context=context, seed=0), model.sample(5, context=-context, seed=0)
    )


def test_the_distribution_of_x_draws_the_rows_of_the_model():
    model = gan(None)
    torch.manual_seed(3)
    x = model.distribution().sample((4,))
    torch.manual_seed(3)
    assert_close(model.sample(4), x)


def test_rows_of_another_shape_than_data_shape_are_an_error():
    model = ImplicitGenerator(nn.Linear(2, 6), 2, data_shape=(5,))
    with pytest.raises(ShapeError, match=r"\(3, 5\).*gave \(3, 6\)"):
        model.sample(3)


def test_a_generator_from_a_vae_draws_its_means_and_shares_no_weights():
    vae = VAE(ConvDecoder(2, (1, 8, 8), width=8), 2)
    vae.likelihood.event_dim = 3
    model = ImplicitGenerator.from_vae(vae)
    vae.eval(), model.eval()
    z = torch.randn(4, 2)
    assert_close(model.generate(z), vae.decoder(z).sigmoid())
    with torch.no_grad():
        model.generator.decoder.linear.weight.zero_()
    assert vae.decoder.linear.weight.abs().min() > 0


@pytest.mark.parametrize("learned", ["flow", "mixture"])
def test_a_generator_from_a_vae_draws_latents_from_the_prior_that_the_vae_learned(learned):
    prior = MAF(2, num_layers=1, hidden_dims=(8,)) if learned == "flow" else NormalMixture(2, 3)
    with torch.no_grad():
        for p in prior.parameters():
            p.add_(0.5 * torch.randn_like(p))
    vae = VAE(nn.Identity(), 2, likelihood=Gaussian(), prior=prior)
    model = ImplicitGenerator.from_vae(vae)
    z = torch.randn(5, 2)
    assert_close(model.prior().log_prob(z), vae.prior().log_prob(z))
    x, theirs = model.sample(4000, seed=0), vae.prior().sample((4000,))
    assert ((x.mean(0) - theirs.mean(0)).abs() < 5 * theirs.std(0) / 2000**0.5).all()
    assert not any(p.requires_grad for p in model.parameters())  # the prior's own; the decoder has none
    assert all(p.requires_grad for p in prior.parameters())
    torch.manual_seed(1)
    drawn = model.draw(7)
    torch.manual_seed(1)
    assert_close(model(num=7), drawn)


def test_a_prior_trains_with_the_generator_unless_it_is_frozen():
    x = torch.randn(16, 2)
    for frozen in (False, True):
        prior = MAF(2, num_layers=1, hidden_dims=(8,))
        model = ImplicitGenerator(nn.Linear(2, 2), 2, prior=prior.freeze() if frozen else prior)
        critic = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))
        before = [p.clone() for p in prior.parameters()]
        game = Adversarial(model, critic)
        for _ in range(3):
            game.step(x)
        moved = any(not torch.equal(p, old) for p, old in zip(prior.parameters(), before, strict=True))
        assert moved != frozen


def test_a_prior_that_reads_the_context_gives_each_row_its_own_latent():
    prior = MAF(1, 1, num_layers=1, hidden_dims=(8,))
    with torch.no_grad():
        for p in prior.parameters():
            p.add_(torch.randn_like(p))
    model = ImplicitGenerator(ConditionalGenerator(FirstEntry()), 1, data_shape=(1,), prior=prior)
    context = torch.tensor([[-2.0], [3.0]]).repeat_interleave(3000, 0)
    x = model.sample(6000, context=context, seed=0).view(2, 3000)
    theirs = prior(context[[0, 3000]]).sample((3000,)).squeeze(-1).T
    assert ((x.mean(1) - theirs.mean(1)).abs() < 5 * theirs.std(1) / 1500**0.5).all()


class FirstEntry(nn.Module):
    def forward(self, x):
        return x[..., :1]


def test_a_conditional_vae_gives_a_conditional_generator_when_told_the_shape():
    vae = VAE(MLPDecoder(2, (4,), (8,), context_dim=3), 2, takes_context=True)
    model = ImplicitGenerator.from_vae(vae, data_shape=(4,))
    z, context = torch.randn(5, 2), torch.randn(5, 3)
    assert_close(model.generate(z, context), vae.decoder(z, context).sigmoid())


def test_what_is_no_vae_and_a_prior_of_another_size_are_errors():
    with pytest.raises(ArgumentTypeError, match="from_vae starts from a VAE"):
        ImplicitGenerator.from_vae(gan())
    with pytest.raises(ShapeError, match=r"\(3,\).*ImplicitGenerator.*latent_dim=2"):
        ImplicitGenerator(nn.Linear(2, 2), 2, prior=NormalMixture(3)).sample(2)


@pytest.mark.parametrize(
    "twin", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
)
def test_a_twin_draws_the_same_under_a_name_of_its_own(twin):
    model = gan()
    other = twin(model)
    assert_close(other.sample(3, seed=0), model.sample(3, seed=0))
    assert other._pyro_name != model._pyro_name


def test_dtype_follows_the_module():
    assert gan().double().sample(2).dtype == torch.double


@pytest.mark.parametrize("context_dim", [0, 3])
def test_draws_beside_pyro_are_those_of_the_model(context_dim):
    model = ImplicitGenerator(MLP(2, 4, (8,), context_dim=context_dim), 2, data_shape=(4,)).double()
    context = torch.randn(7, context_dim, dtype=torch.double) if context_dim else None
    torch.manual_seed(1)
    drawn = model.draw(7, context)
    torch.manual_seed(1)
    assert_close(model(context=context, num=7), drawn, rtol=0, atol=0)
    drawn.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
