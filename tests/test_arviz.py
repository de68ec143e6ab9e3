"""Both lines of ArviZ that the package allows read draws made in Pyro: 0.23 on Python 3.11, 1.x later."""

import sys

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Predictive


@pytest.fixture(scope="module")
def arviz():
    import arviz

    return arviz


def as_inference_data(arviz, groups):
    """ArviZ 1.x takes the groups as one mapping, 0.23 as keywords."""
    if arviz.__version__.startswith("0."):
        return arviz.from_dict(**groups)
    return arviz.from_dict(groups)


def test_python_3_11_gets_the_old_line_and_later_ones_the_new(arviz):
    assert arviz.__version__.startswith("0.23." if sys.version_info < (3, 12) else "1.")


def test_draws_of_a_pyro_model_come_back_from_arviz_as_they_were(arviz):
    def model():
        pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))

    draws = Predictive(model, num_samples=50)()["z"].reshape(1, 50, 3)
    data = as_inference_data(arviz, {"posterior": {"z": draws.numpy()}})
    assert torch.equal(torch.as_tensor(data["posterior"]["z"].values), draws)


def test_summary_of_arviz_agrees_with_torch_on_the_mean(arviz):
    draws = torch.randn(4, 250, dtype=torch.double) + 3.0
    summary = arviz.summary(as_inference_data(arviz, {"posterior": {"z": draws.numpy()}}), round_to="none")
    assert float(summary.loc["z", "mean"]) == pytest.approx(draws.mean().item(), abs=1e-9)
