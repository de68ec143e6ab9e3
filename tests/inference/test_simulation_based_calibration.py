"""Truths among the draws of posteriors of every kind: exact ones pass, and shrunk ones fail."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS
from torch import nn

from pyro_dgm.errors import DataError
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.inference import neural_posterior, simulation_based_calibration
from pyro_dgm.models import VAE

NOISE = 0.7
WIDTH = NOISE / (1 + NOISE**2) ** 0.5


def simulator():
    z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(z, NOISE).to_event(1))


def exact(shrink=1.0):
    """Draws of the conjugate posterior, or of one ``shrink`` times as wide."""
    return lambda data: {"z": data["x"] / (1 + NOISE**2) + shrink * WIDTH * torch.randn(99, 2)}


def guide_of(shrink):
    def pair(data):
        q = dist.Normal(data["x"] / (1 + NOISE**2), shrink * WIDTH).to_event(1)
        return lambda: pyro.sample("z", q), pyro.condition(simulator, data)

    return pair


def found(posterior, **options):
    return simulation_based_calibration(posterior, simulator, **{"observed": "x"} | options)


@pytest.mark.parametrize("kind", [exact, guide_of])
def test_exact_posteriors_pass_and_shrunk_ones_fail(kind):
    right, narrow = (found(kind(shrink)) for shrink in (1.0, 0.7))
    assert right.calibrated
    assert (right.marginal.p_values > 0.01).all()
    assert (narrow.marginal.p_values < 0.01).all()
    assert narrow.sentence.startswith("These posteriors are wrong: z[0] is drawn too narrow")


def test_wrong_correlation_fails_although_every_quantity_passes():
    def pair():
        z = pyro.sample("z", dist.MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.9], [0.9, 1.0]])))
        pyro.sample("x", dist.Normal(z.sum(-1), 50.0))

    wrong = simulation_based_calibration(lambda data: {"z": torch.randn(99, 2)}, pair, observed="x")
    assert wrong.marginal.calibrated
    assert not wrong.calibrated
    assert "the quantities do not go together" in wrong.sentence


class LinearEncoder(nn.Module):
    def __init__(self, shrink):
        super().__init__()
        self.shrink = shrink

    def forward(self, x):
        return x / 2, torch.full_like(x, 0.5 * self.shrink**2).log()


@pytest.mark.parametrize(("shrink", "passes"), [(1.0, True), (0.7, False)])
def test_guide_of_a_vae_is_tested_by_rows_of_its_own_model(shrink, passes):
    vae = VAE(nn.Identity(), 3, likelihood=lambda out: dist.Normal(out, 1.0).to_event(1))
    assert simulation_based_calibration(AmortizedNormal(LinearEncoder(shrink)), vae).calibrated is passes


def test_amortized_posterior_knows_its_own_data_and_draws_for_all_at_once():
    posterior = neural_posterior(simulator, observed="x", num_simulations=60, epochs=1)
    run = simulation_based_calibration(posterior, simulator, num_data_sets=40, num_draws=9)
    assert run.draws["z"].shape == (40, 9, 2)
    with pytest.raises(TypeError, match="observed="):
        simulation_based_calibration(exact(), simulator)


def test_table_has_a_row_for_each_quantity_in_text_and_html():
    run = found(exact(0.7), num_data_sets=100)
    assert [check.key for check in run.checks] == ["z[0]", "z[1]", "joint"]
    assert str(run).endswith(run.sentence)
    assert run._repr_html_().count("<tr>") == 4


def test_seed_decides_truths_and_draws_and_leaves_the_global_state():
    state = torch.get_rng_state()
    one, two = found(exact(), num_data_sets=20), found(exact(), num_data_sets=20)
    assert torch.equal(one.truth["z"], two.truth["z"])
    assert torch.equal(one.marginal.ranks, two.marginal.ranks)
    assert torch.equal(state, torch.get_rng_state())


def test_longer_chains_are_thinned_and_shorter_ones_refused():
    run = found(lambda data: {"z": torch.arange(300.0)[:, None].expand(300, 2)}, num_data_sets=3, num_draws=3)
    assert run.draws["z"][0, :, 0].tolist() == [0.0, 100.0, 200.0]
    with pytest.raises(DataError, match="has 5 draws, but num_draws is 99"):
        found(lambda data: {"z": torch.randn(5, 2)}, num_data_sets=3)
    with pytest.raises(DataError, match="hold no latent site"):
        found(lambda data: {"w": torch.randn(99)}, num_data_sets=3)


@pytest.mark.slow
def test_chains_of_nuts_pass():
    fixed = {"adapt_step_size": False, "adapt_mass_matrix": False, "max_tree_depth": 3}

    def nuts(data):
        kernel = NUTS(pyro.condition(simulator, data), step_size=0.5, **fixed)
        mcmc = MCMC(kernel, num_samples=60, warmup_steps=10, disable_progbar=True)
        mcmc.run()
        return mcmc

    assert found(nuts, num_data_sets=100, num_draws=20).calibrated
