import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoNormal
from pyro.nn import PyroModule, PyroSample
from torch import nn

from pyro_dgm.flows import RealNVP
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE, NormalizingFlow
from pyro_dgm.objectives import ELBO
from pyro_dgm.training import fit
from tests.training.toys import Game, Mean, rows, same, small_flow, weights


def run(objective, data=None, **options):
    options = {"steps": 5, "progress": False} | options
    return fit(objective, rows() if data is None else data, **options)


def vae() -> VAE:
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 4)

        def forward(self, x):
            return self.net(x).chunk(2, -1)

    torch.manual_seed(0)
    normal = lambda loc: dist.Normal(loc, 1.0).to_event(1)  # noqa: E731
    return VAE(nn.Linear(2, 2), 2, likelihood=normal, guide=AmortizedNormal(Encoder())).double()


@pytest.mark.parametrize("make", [small_flow, vae])
def test_the_same_seed_gives_the_same_weights_to_the_bit(make):
    first, second = make(), make()
    run(first, batch_size=8, seed=3)
    torch.manual_seed(99)
    run(second, batch_size=8, seed=3)
    assert same(weights(first), weights(second))


def test_another_seed_gives_other_weights():
    first, second = small_flow(), small_flow()
    run(first, batch_size=8, seed=3)
    run(second, batch_size=8, seed=4)
    assert not same(weights(first), weights(second))


def test_the_callers_random_states_are_left_as_they_were():
    model = vae()
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    run(model, validation=rows(20), callbacks=[lambda state: torch.randn(3)])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002


def test_what_a_callback_draws_does_not_change_the_training():
    first, second = vae(), vae()
    run(first)
    run(second, callbacks=[lambda state: torch.randn(state.step)])
    assert same(weights(first), weights(second))


def test_a_one_dimensional_flow_reaches_the_closed_form_maximum_likelihood():
    x = rows(200, size=1)
    flow = NormalizingFlow(RealNVP(1, num_layers=1, hidden_dims=(2,))).double()
    history = run(flow, x, steps=600, lr=0.05, schedule="cosine")
    entropy = 0.5 * math.log(2 * math.pi * math.e * x.var(unbiased=False).item())
    assert history.losses[-1] == pytest.approx(entropy, abs=1e-6)


def test_a_pair_of_model_and_guide_learns_a_conjugate_posterior():
    class Model(PyroModule):
        def __init__(self):
            super().__init__()
            self.mean = PyroSample(dist.Normal(torch.tensor(0.0).double(), 1.0))

        def forward(self, x, size=None, index=None):
            mean = self.mean
            with pyro.plate("data", size, subsample=index):
                pyro.sample("x", dist.Normal(mean, 1.0), obs=x.squeeze(-1))

    x, model = rows(9, size=1), Model()
    guide = AutoNormal(model)  # which makes its parameters when it is first called
    run((model, guide), x, steps=400, lr=0.05, schedule="cosine")
    # posterior N(sum x / (n + 1), 1 / (n + 1)); noise of the last small steps
    loc, scale = guide.locs.mean.item(), guide.scales.mean.item()
    assert loc == pytest.approx(x.sum().item() / 10, abs=0.03)
    assert scale == pytest.approx(10**-0.5, abs=0.03)


def test_frozen_parameters_stay_and_the_others_train():
    flow = small_flow()
    first = flow.flow.conditioners[0].requires_grad_(False)
    before, second = weights(first), weights(flow.flow.conditioners[1])
    run(flow)
    assert same(weights(first), before)
    assert not same(weights(flow.flow.conditioners[1]), second)


def test_two_models_fitted_one_after_the_other_are_independent():
    first, second = small_flow(), small_flow(1)
    run(first)
    kept, alone = weights(first), small_flow(1)
    run(second)
    run(alone)
    assert same(weights(first), kept)
    assert same(weights(second), weights(alone))


def test_a_store_cleared_in_the_middle_changes_nothing():
    first, second = small_flow(), small_flow()
    run(first)
    run(second, callbacks=[lambda state: pyro.clear_param_store()])
    assert same(weights(first), weights(second))


def test_the_callers_parameter_store_is_left_as_it_was():
    pyro.param("mine", torch.ones(1))
    run(small_flow())
    assert list(pyro.get_param_store()) == ["mine"]


def test_handlers_of_the_caller_do_not_reach_into_the_training():
    first, second = small_flow(), small_flow()
    run(first)
    with poutine.trace() as outer, poutine.scale(scale=7.0):
        run(second)
    assert same(weights(first), weights(second))
    assert not [name for name, node in outer.trace.nodes.items() if node["type"] == "sample"]


def test_modes_are_given_back_as_they_were():
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    net[1].eval()
    loss = ELBO(NormalizingFlow(RealNVP(2)).double())
    loss.extra = net
    seen = []
    run(loss, callbacks=[lambda state: seen.append(net[1].training)])
    assert seen[0]
    assert loss.training
    assert not net[1].training


def test_gradients_are_on_even_where_the_caller_switched_them_off():
    with torch.no_grad():
        assert run(small_flow()).num_steps == 5


def test_a_gradient_is_scaled_to_the_clip_and_reported_before_it():
    loss = Mean()
    history = run(loss, steps=1, clip=0.1, optimizer=lambda ps: torch.optim.SGD(ps, lr=1.0))
    assert loss.point.detach().norm().item() == pytest.approx(0.1, rel=1e-4)
    assert history["grad_norm"][0] == pytest.approx(rows().mean(0).norm().item())


def test_a_schedule_scales_the_learning_rate_by_the_fraction_done():
    history = run(Mean(), steps=4, lr=0.1, schedule=lambda done: 1 - done)
    assert history["lr"] == pytest.approx([0.1, 0.075, 0.05, 0.025])


def test_an_optimiser_keeps_its_own_learning_rate():
    loss = Mean()
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.5)
    run(loss, optimizer=optimizer, schedule="cosine")
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_an_objective_with_its_own_step_is_recorded_under_its_names():
    history = run(Game(), schedule="one-cycle")
    assert history.columns == ["critic", "seconds"]
    assert history.num_steps == 5


def test_a_progress_bar_is_shown_on_the_error_stream(capsys):
    run(Mean(), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "5/5" in err
    assert "loss=" in err


def test_no_progress_is_silent(capsys):
    run(Mean())
    assert capsys.readouterr() == ("", "")


def test_averaged_weights_are_what_is_kept():
    from pyro_dgm.training import AverageWeights

    loss, seen = Mean(), []
    average = AverageWeights(decay=0.0)
    run(loss, steps=3, callbacks=[lambda state: seen.append(loss.point.detach().clone()), average])
    assert torch.equal(loss.point.detach(), seen[-1])
    loss = Mean()
    run(loss, steps=3, callbacks=[AverageWeights(decay=0.999)])
    assert (loss.point.detach() < seen[-1]).all()
