"""What either line of ArviZ reads from our exports: names, values, and its own figures."""

import arviz
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import RealNVP
from pyro_dgm.guides import AmortizedNormal, AutoFlow
from pyro_dgm.inference import Program, importance_draws, independence_metropolis, to_arviz
from pyro_dgm.models import VAE, NormalizingFlow
from pyro_dgm.nets import MLPEncoder

X = torch.tensor([0.5, 1.1, -0.3, 0.2], dtype=torch.double)
SCHOOLS = {"school": ["a", "b", "c", "d"]}


def model(scale=0.5):
    z = pyro.sample("z", dist.Normal(torch.tensor(0.0).double(), 1.0))
    w = pyro.sample("w", dist.Normal(torch.zeros(3).double(), 1.0).to_event(1))
    pyro.deterministic("total", z + w.sum(-1))
    with pyro.plate("school", len(X)):
        b = pyro.sample("b", dist.Normal(z, 1.0))
        pyro.sample("x", dist.Normal(b, scale), obs=X)


def draws(n=40):
    return {"z": torch.randn(n).double(), "w": torch.randn(n, 3).double(), "b": torch.randn(n, 4).double()}


def values(data, group, name):
    return torch.as_tensor(np.array(data[group][name].values))


def test_dimensions_have_the_names_of_plates_and_sites():
    data = to_arviz(draws(), model, coords=SCHOOLS, num_prior=7)
    dims = {name: data["posterior"][name].dims[2:] for name in ("z", "w", "b", "total")}
    assert dims == {"z": (), "w": ("w_dim_0",), "b": ("school",), "total": ()}
    assert data["log_likelihood"]["x"].dims == ("chain", "draw", "school")
    assert data["observed_data"]["x"].dims == ("school",)
    assert list(data["posterior_predictive"]["x"].coords["school"].values) == SCHOOLS["school"]
    assert data["prior"]["b"].shape == (1, 7, 4)
    assert data["prior_predictive"]["x"].shape == (1, 7, 4)


@pytest.mark.parametrize("vectorize", [True, False])
def test_groups_hold_the_densities_of_the_draws(vectorize):
    given = draws(9)
    data = to_arviz(given, model, scale=2.0, chunk=4, vectorize=vectorize, seed=1)
    assert_close(values(data, "posterior", "w")[0], given["w"])
    assert_close(values(data, "posterior", "total")[0], given["z"] + given["w"].sum(-1))
    assert_close(values(data, "log_likelihood", "x")[0], dist.Normal(given["b"], 2.0).log_prob(X))
    assert_close(values(data, "observed_data", "x"), X)


def test_new_data_come_from_each_draw_and_the_prior_from_the_model():
    given = {name: 100 * value for name, value in draws(300).items()}
    data = to_arviz(given, model, num_prior=2000)
    noise = (values(data, "posterior_predictive", "x")[0] - given["b"]) / 0.5
    assert abs(noise.mean()) < 4 / 1200**0.5
    assert abs(noise.std() - 1) < 4 / 2400**0.5
    assert abs(values(data, "prior_predictive", "x").var() - 2.25) < 0.25


def test_figures_of_arviz_run_on_an_autoguide_and_on_importance_draws():
    guide = AutoFlow(model, init_scale=0.5)
    exports = {
        "guide": to_arviz(guide, model, num_samples=500),
        "weighted": to_arviz(importance_draws(model, guide), model, num_samples=500),
    }
    for data in exports.values():
        means = arviz.summary(data, var_names=["b"], kind="stats", round_to="none")["mean"].astype(float)
        assert_close(torch.tensor(means.to_numpy()), values(data, "posterior", "b").mean((0, 1)))
        assert len(means) == 4


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas 3, in ArviZ 0.23 itself
def test_loo_and_compare_of_arviz_prefer_the_true_scale():
    def normal(scale):
        def of_mean():
            z = pyro.sample("z", dist.Normal(torch.tensor(0.0).double(), 1.0))
            with pyro.plate("school", len(X)):
                pyro.sample("x", dist.Normal(z, scale), obs=X)

        precision = 1 + len(X) / scale**2
        exact = dist.Normal(X.sum() / scale**2 / precision, precision**-0.5)
        return of_mean, lambda: pyro.sample("z", exact)

    exports = {}
    for name, scale in (("fits", 1.0), ("too wide", 5.0)):
        program, guide = normal(scale)
        exports[name] = to_arviz(guide, program, num_samples=1000)
        elpd = getattr(arviz.loo(exports[name]), "elpd_loo", None)
        elpd = arviz.loo(exports[name]).elpd if elpd is None else elpd
        assert float(elpd) == pytest.approx(exact_loo(scale), abs=0.2)
    assert next(iter(arviz.compare(exports).index)) == "fits"


def exact_loo(scale):
    """The sum of the log-densities of each datum under the predictive of the others."""
    total = 0.0
    for i in range(len(X)):
        rest = torch.cat([X[:i], X[i + 1 :]])
        precision = 1 + len(rest) / scale**2
        predictive = dist.Normal(rest.sum() / scale**2 / precision, (1 / precision + scale**2) ** 0.5)
        total += predictive.log_prob(X[i]).item()
    return total


def test_chains_stay_chains_and_bring_their_divergences():
    chains = independence_metropolis(model, AutoFlow(model), num_samples=20, num_chains=3)
    assert to_arviz(chains)["posterior"]["b"].shape == (3, 20, 4)
    mcmc = MCMC(NUTS(model, max_tree_depth=2), num_samples=10, warmup_steps=5, disable_progbar=True)
    mcmc.run()
    data = to_arviz(mcmc, model)
    assert data["posterior"]["b"].dims == ("chain", "draw", "school")
    diverged = len(mcmc.diagnostics()["divergences"]["chain 0"])
    assert int(data["sample_stats"]["diverging"].sum()) == diverged


def test_vae_and_flow_have_rows_of_their_own():
    rows = torch.rand(5, 6).round()
    vae = VAE(nn.Linear(2, 6), 2, guide=AmortizedNormal(MLPEncoder((6,), 2, (8,))))
    data = to_arviz(vae.guide, vae, rows, num_samples=8, num_prior=3)
    assert data["posterior"]["z"].dims == ("chain", "draw", "data", "z_dim_0")
    scores = vae.log_likelihood(rows, values(data, "posterior", "z")[0])
    assert_close(values(data, "log_likelihood", "x")[0], scores.detach())
    flow = NormalizingFlow(RealNVP(6))
    exported = to_arviz(flow.guide, flow, rows, num_samples=8)
    assert_close(values(exported, "log_likelihood", "x")[0, 0], flow.log_prob(rows).detach())
    assert exported["posterior_predictive"]["x"].shape == (1, 8, 5, 6)


def test_site_and_plate_of_one_name_are_told_apart():
    def same():
        with pyro.plate("data", 2):
            pyro.sample("a", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", 3, dim=-2):
            pyro.sample("c", dist.Normal(torch.zeros(5), 1.0).to_event(1))

    data = to_arviz({"a": torch.zeros(4, 2), "c": torch.zeros(4, 3, 1, 5)}, same, num_prior=0)
    assert data["posterior"]["c"].dims[2:] == ("rows", "c_dim_0", "c_dim_1")
    assert data["posterior"]["a"].dims[2:] == ("data",)


@pytest.mark.filterwarnings("ignore:Passing a dict or None as alias_mapping")  # of ArviZ 0.23 to Matplotlib
def test_posterior_predictive_picture_of_arviz_is_drawn():
    data = to_arviz(draws(), model, num_prior=0)
    if hasattr(arviz, "plot_ppc"):
        assert arviz.plot_ppc(data, num_pp_samples=5) is not None
    else:
        assert arviz.plot_ppc_dist(data, num_samples=5) is not None


def test_seed_decides_the_draws_and_leaves_the_global_state():
    state = torch.get_rng_state()
    one, two = (to_arviz(draws_fixed(), model, seed=3) for _ in range(2))
    assert_close(values(one, "posterior_predictive", "x"), values(two, "posterior_predictive", "x"))
    assert torch.equal(state, torch.get_rng_state())


def draws_fixed():
    return {"z": torch.zeros(3).double(), "w": torch.zeros(3, 3).double(), "b": torch.zeros(3, 4).double()}


def test_what_is_missing_is_named():
    with pytest.raises(DataError, match="no site 'b'"):
        to_arviz({"z": torch.zeros(3).double(), "w": torch.zeros(3, 3).double()}, model)
    with pytest.raises(ShapeError, match="'b' need shape"):
        to_arviz(draws_fixed() | {"b": torch.zeros(3, 5)}, model)
    with pytest.raises(TypeError, match="guide together with its model"):
        to_arviz(lambda: None)
    with pytest.raises(ValueError, match="coords names 1 entries of 'school'"):
        to_arviz(draws_fixed(), model, coords={"school": ["a"]})
    assert Program(model).observed == ["x"]
    assert Program(model).deterministic == ["total"]
