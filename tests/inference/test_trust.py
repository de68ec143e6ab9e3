"""Verdicts on posteriors that are known to be right, wrong, or not to be judged."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS
from torch import nn
from torch.testing import assert_close

from pyro_dgm.diagnostics import leave_one_out
from pyro_dgm.errors import DataError, UnknownNameError
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.inference import importance_draws, predictive_check, trust
from pyro_dgm.models import VAE

X = torch.tensor([0.5, 1.1, -0.3, 0.4, 0.9, 0.1], dtype=torch.double)
SD = 0.8
PRECISION = 1 + len(X) / SD**2
MEAN, WIDTH = X.sum() / SD**2 / PRECISION, PRECISION**-0.5


def model():
    z = pyro.sample("z", dist.Normal(torch.tensor(0.0).double(), 1.0))
    with pyro.plate("data", len(X)):
        pyro.sample("x", dist.Normal(z, SD), obs=X)


def guide_of(scale, shift=0.0):
    return lambda: pyro.sample("z", dist.Normal(MEAN + shift * WIDTH, scale * WIDTH))


def exact_left_out():
    """Log-density of each datum under the predictive of the others."""
    precision = PRECISION - 1 / SD**2
    means = (X.sum() - X) / SD**2 / precision
    return dist.Normal(means, (1 / precision + SD**2) ** 0.5).log_prob(X)


def test_exact_guide_is_trusted_and_its_evidence_is_its_elbo():
    found = trust(guide_of(1.0), model)
    assert found.trusted
    assert found["k_hat"].figure < 0.5
    assert found["gap"].figure == pytest.approx(0.0, abs=1e-6)
    assert found["ess"].figure == pytest.approx(4000)
    assert found.sentence.startswith(
        "Nothing speaks against it: all its weights are equal; its draws are worth 4"
    )


def test_guide_of_half_the_scale_is_not_trusted():
    def normal_of(scale):
        return lambda: pyro.sample("z", dist.Normal(torch.zeros(5).double(), scale).to_event(1))

    found = trust(normal_of(0.5), normal_of(1.0))
    assert found["k_hat"].figure > 0.7
    assert not found.trusted
    assert found.sentence.startswith("Do not trust it: k-hat is")


def test_shifted_guide_is_to_be_used_with_its_corrected_means():
    found = trust(guide_of(1.5, shift=0.8), model)
    assert found["k_hat"].verdict == "pass"
    assert found["shift"].figure == pytest.approx(0.8, abs=0.1)
    assert found["shift"].verdict == "not decided"
    # KL between normals of scale ratio 3/2 and shift 4/5 of the posterior's
    kl = math.log(1 / 1.5) + (1.5**2 + 0.8**2) / 2 - 0.5
    assert found["gap"].figure == pytest.approx(kl, abs=0.1)


@pytest.mark.parametrize("scale", [1.0, 1.6])
def test_data_left_out_of_a_guide_are_those_of_the_conjugate_posterior(scale):
    drawn = importance_draws(model, guide_of(scale), num_samples=20_000)
    scores = dist.Normal(drawn.samples["z"][:, None], SD).log_prob(X)
    found = leave_one_out(scores, drawn.log_weights)
    assert_close(found.pointwise, exact_left_out(), atol=0.03, rtol=0)
    assert found.num_parameters == pytest.approx(
        (dist.Normal(MEAN, (WIDTH**2 + SD**2) ** 0.5).log_prob(X) - exact_left_out()).sum().item(), abs=0.05
    )
    assert trust(drawn, model)["loo"].figure == pytest.approx(found.elpd, abs=1e-6)


def test_guide_that_misses_the_posterior_is_told_so():
    def far():
        pyro.sample("z", dist.Uniform(0.0, 1.0))

    with pyro.validation_enabled(False):
        found = trust(lambda: pyro.sample("z", dist.Uniform(2.0, 3.0)), far)
    assert not found.trusted
    words = "every draw of the guide has density zero under the model: the guide misses the posterior"
    assert found.sentence == f"Do not trust it: {words}."


def test_one_chain_and_absent_models_are_named_as_missing():
    draws = {"z": MEAN + WIDTH * torch.randn(400).double()}
    found = trust(draws)
    assert {check.key for check in found.missing} == {"k_hat", "r_hat", "loo"}
    assert "two chains" in found["r_hat"].note
    assert "needs the model" in found["loo"].note
    assert not found.trusted
    assert "Not known: whether the draws miss part of the posterior; whether chains agree" in found.sentence
    assert str(found).count("missing") == 3
    assert found.sentence.startswith("Nothing speaks against it so far: its draws are worth")


def test_model_without_data_one_by_one_has_no_leave_one_out():
    def lump():
        pyro.sample("z", dist.Normal(torch.tensor(0.0).double(), 1.0))

    def lump_of_data():
        lump()
        pyro.sample("x", dist.Normal(torch.zeros(5).double(), 1.0).to_event(1), obs=torch.ones(5).double())

    assert "the model observes nothing" in trust(lump, lump)["loo"].note
    found = trust(lump, lump_of_data)
    assert "one by one" in found["loo"].note
    assert [check.key for check in found.missing] == ["loo"]
    assert found.trusted  # that is a question about the model


def test_chains_that_agree_pass_and_chains_apart_fail():
    class Chains:
        def __init__(self, shift):
            self.z = torch.randn(2, 500).double() + torch.tensor([[0.0], [shift]])

        def get_samples(self, group_by_chain):
            return {"z": self.z}

        def diagnostics(self):
            return {}

    together, apart = trust(Chains(0.0)), trust(Chains(3.0))
    assert together["r_hat"].verdict == "pass"
    assert together.trusted
    assert apart["r_hat"].verdict == "FAIL"
    assert "have not met" in apart.sentence


def test_divergences_of_nuts_are_counted():
    mcmc = MCMC(NUTS(model, max_tree_depth=2), num_samples=20, warmup_steps=20, disable_progbar=True)
    mcmc.run()
    count = len(mcmc.diagnostics()["divergences"]["chain 0"])
    assert trust(mcmc, model)["divergences"].figure == count


class LinearEncoder(nn.Module):
    """The exact posterior of x = z + noise of variance one, and its scale times a factor."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        logvar = torch.full_like(x, 0.5 * self.factor**2).log()
        return x / 2, logvar


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (0.3, "FAIL")])
def test_rows_of_a_vae_have_weights_of_their_own(factor, verdict):
    vae = VAE(nn.Identity(), 3, likelihood=lambda out: dist.Normal(out, 1.0).to_event(1))
    x = 2**0.5 * torch.randn(1000, 3)
    found = trust(AmortizedNormal(LinearEncoder(factor)), vae, x, num_samples=200)
    assert found["k_hat"].verdict == verdict
    if factor == 1:
        exact = dist.Normal(0.0, 2**0.5).log_prob(x).sum(-1).mean().item()
        assert found["evidence"].figure == pytest.approx(exact, abs=1e-3)


def test_rows_are_judged_in_bounded_memory():
    class Watched(nn.Module):
        largest = 0

        def forward(self, z):
            type(self).largest = max(self.largest, z.numel() // z.shape[-1])
            return z

    vae = VAE(Watched(), 3, likelihood=lambda out: dist.Normal(out, 1.0).to_event(1))
    found = trust(AmortizedNormal(LinearEncoder(1.0)), vae, torch.randn(300, 3), num_samples=100, chunk=1000)
    assert "300 rows" in found["k_hat"].note
    assert Watched.largest <= 1000


def test_verdict_is_one_table_in_text_and_html():
    found = trust(guide_of(0.5), model)
    assert str(found).startswith("Can this guide be trusted?")
    assert str(found).endswith(found.sentence)
    assert found._repr_html_().count("<tr>") == len(found.checks) + 1


def test_predictive_p_value_of_the_mean_is_that_of_the_normal_predictive():
    found = predictive_check(guide_of(1.0), model, num_samples=4000, seed=0)
    spread = dist.Normal(MEAN, (WIDTH**2 + SD**2 / len(X)) ** 0.5)
    assert found.p_values["mean"] == pytest.approx(
        1 - spread.cdf(X.mean()).item(), abs=4 * (0.25 / 4000) ** 0.5
    )
    wrong = predictive_check({"z": torch.full((500,), 5.0).double()}, model, statistics={"top": torch.max})
    assert wrong.p_values == {"top": 1.0}
    assert str(wrong).endswith("The data are not like those of the model: their top is too small.")
    assert found.sentence.startswith("In these statistics the data look like")


def test_predictive_check_says_which_site_it_needs():
    with pytest.raises(UnknownNameError, match="observed site 'y'"):
        predictive_check(guide_of(1.0), model, site="y")
    with pytest.raises(DataError, match="observes nothing"):
        predictive_check({"z": torch.zeros(3)}, lambda: pyro.sample("z", dist.Normal(0.0, 1.0)))
