"""Summary, leave-one-out, comparison and picture of either line of ArviZ, on exports of each kind."""

import warnings
from functools import cache

import arviz
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import nn

from pyro_dgm.flows import RealNVP
from pyro_dgm.guides import AmortizedNormal, AutoFlow
from pyro_dgm.inference import importance_draws, independence_metropolis, to_arviz
from pyro_dgm.models import VAE, NormalizingFlow

OLD = arviz.__version__.startswith("0.")
SITES = ["a", "b", "c", "d", "e"]
X = torch.tensor([0.5, 1.1, -0.3, 0.2, 0.7], dtype=torch.double)
# ArviZ 0.23's own calls of pandas 3 and of Matplotlib, of which only developers are told.
THEIRS = ["The inplace keyword", "Passing a dict or None as alias_mapping"]


def schools():
    """So much noise that the posterior is nearly the prior: no datum has much influence."""
    mean = pyro.sample("mean", dist.Normal(torch.tensor(0.0).double(), 0.5))
    with pyro.plate("school", 5):
        effect = pyro.sample("effect", dist.Normal(torch.tensor(0.0).double(), 0.5))
        pyro.sample("x", dist.Normal(mean + effect, 4.0), obs=X)


def of_svi():
    guide = AutoNormal(schools, init_scale=0.5)
    svi = SVI(schools, guide, pyro.optim.ClippedAdam({"lr": 0.05}), Trace_ELBO())
    for _ in range(100):
        svi.step()
    return to_arviz(guide, schools, coords={"school": SITES}, num_samples=300)


def of_nuts():
    # The chains run one after the other, so that no process is started.
    class Chains:
        def __init__(self):
            self.runs = []
            fixed = {"adapt_step_size": False, "adapt_mass_matrix": False, "max_tree_depth": 3}
            for _ in range(2):
                kernel = NUTS(schools, step_size=0.4, **fixed)
                self.runs.append(MCMC(kernel, num_samples=60, warmup_steps=10, disable_progbar=True))
                self.runs[-1].run()

        def get_samples(self, group_by_chain):
            each = [run.get_samples() for run in self.runs]
            return {name: torch.stack([draws[name] for draws in each]) for name in each[0]}

        def diagnostics(self):
            each = [run.diagnostics()["divergences"]["chain 0"] for run in self.runs]
            return {"divergences": {f"chain {i}": found for i, found in enumerate(each)}}

    return to_arviz(Chains(), schools, coords={"school": SITES})


class LinearEncoder(nn.Module):
    """The exact posterior of x = z + noise of variance nine."""

    def forward(self, x):
        return x / 10, torch.full_like(x, 0.9).log()


def of_vae():
    vae = VAE(nn.Identity(), 2, likelihood=lambda out: dist.Normal(out, 3.0).to_event(1))
    guide = AmortizedNormal(LinearEncoder())
    return to_arviz(guide, vae, 2 * torch.randn(6, 2), coords={"data": list("abcdef")}, num_samples=300)


KINDS = {
    "SVI": of_svi,
    "AutoFlow": lambda: to_arviz(AutoFlow(schools, init_scale=0.5), schools, coords={"school": SITES}),
    "importance draws": lambda: to_arviz(
        importance_draws(schools, AutoFlow(schools, init_scale=0.5), num_samples=2000),
        schools,
        coords={"school": SITES},
    ),
    "chains of proposals": lambda: to_arviz(
        independence_metropolis(schools, AutoFlow(schools, init_scale=0.5), num_samples=200, num_chains=2),
        schools,
        coords={"school": SITES},
    ),
    "NUTS": of_nuts,
    "VAE": of_vae,
}


@cache
def export(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return KINDS[kind]()


@pytest.fixture(params=KINDS)
def data(request):
    found = export(request.param)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in THEIRS if OLD else ():
            warnings.filterwarnings("ignore", message=text)
        yield found


def test_every_group_is_there_with_names_of_plates_and_sites(data):
    groups = [
        "posterior",
        "posterior_predictive",
        "log_likelihood",
        "prior",
        "prior_predictive",
        "observed_data",
    ]
    assert all(len(data[group].data_vars) for group in groups)
    plate = "data" if "data" in data["observed_data"]["x"].dims else "school"
    labels = SITES if plate == "school" else list("abcdef")
    for group in groups:
        dims = data[group]["x" if "x" in data[group] else next(iter(data[group].data_vars))].dims
        assert plate in dims or group in ("posterior", "prior")
        if plate in data[group].dims:
            assert list(data[group].coords[plate].values) == labels
    assert data["log_likelihood"]["x"].dims == ("chain", "draw", plate)


def test_summary_has_a_row_for_each_entry(data):
    summary = arviz.summary(data, round_to="none")
    sizes = [np.prod(values.shape[2:], dtype=int) for values in data["posterior"].data_vars.values()]
    assert len(summary) == sum(sizes)
    assert np.isfinite(summary["mean"].astype(float)).all()


def test_left_out_data_are_scored_one_by_one(data):
    found = arviz.loo(data, pointwise=True)
    scores = found.loo_i if OLD else found.elpd_i
    assert np.asarray(scores).shape == (data["observed_data"]["x"].shape[0],)
    assert np.isfinite(np.asarray(scores)).all()


def test_exports_of_one_model_compare(data):
    table = arviz.compare({"one": data, "other": data})
    assert set(table.index) == {"one", "other"}
    assert abs(np.diff(table["elpd_loo" if OLD else "elpd"].to_numpy())).max() < 1e-9


def test_predictive_picture_is_drawn(data):
    drawn = arviz.plot_ppc(data, num_pp_samples=5) if OLD else arviz.plot_ppc_dist(data, num_samples=5)
    assert drawn is not None
    import matplotlib.pyplot as plt

    plt.close("all")


def test_flow_has_data_new_data_and_scores_and_no_posterior():
    rows = torch.randn(6, 2)
    flow = NormalizingFlow(RealNVP(2))
    data = to_arviz(flow.guide, flow, rows, coords={"data": list("abcdef")}, num_samples=20)
    assert "posterior" not in (data.groups() if OLD else data.children)
    assert data["posterior_predictive"]["x"].dims == ("chain", "draw", "data", "x_dim_0")
    assert list(data["observed_data"].coords["data"].values) == list("abcdef")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in THEIRS if OLD else ():
            warnings.filterwarnings("ignore", message=text)
        drawn = arviz.plot_ppc(data, num_pp_samples=5) if OLD else arviz.plot_ppc_dist(data, num_samples=5)
    assert drawn is not None
