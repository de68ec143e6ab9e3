"""The number of steps that training takes follows from what doubling it changes."""

import pytest
import torch
from torch import nn

from pyro_dgm.errors import DataError
from pyro_dgm.flows import CNF, RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.nets import ModuleVelocity
from pyro_dgm.training import FitState, History, StepControl, fit


class Rate(nn.Module):
    """The field a x, whose solve scales by exp(a); RK4 with n steps by a polynomial of a / n to the n."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(()))

    def forward(self, t, x):
        return self.a * x


def flow_at_rate(a):
    rate = Rate()
    nn.init.constant_(rate.a, a)
    return CNF(1, field=lambda n, c: ModuleVelocity(rate, n, c)), rate


def scale(a, num):
    h = -a / num  # from the data to the base
    return (1 + h + h**2 / 2 + h**3 / 6 + h**4 / 24) ** num


def test_it_takes_the_smallest_power_of_two_that_keeps_the_limit():
    flow, rate = flow_at_rate(-3.0)
    x = torch.linspace(-0.3, 0.3, 64).unsqueeze(1)
    control, state = StepControl(flow, x, limit=1e-3), FitState(None, History())
    control.on_start(state)
    for _ in range(8):
        control.on_step(state)
    half = 0.5 * x.square().mean().item()  # J_ML differs between numbers of steps by this times scale squared

    def change(num):
        return half * abs(scale(-3.0, 2 * num) ** 2 - scale(-3.0, num) ** 2)

    assert change(flow.nt_train) < 1e-3 < change(flow.nt_train // 2)
    assert abs(abs(control.record[0][2]) - change(1)) < 1e-4 * change(1)
    with torch.no_grad():
        rate.a.fill_(-0.01)
    for _ in range(8):
        control.on_step(state)
    assert flow.nt_train == 1


def test_a_flow_that_has_trained_begins_with_as_many_steps_as_it_needs():
    flow, _ = flow_at_rate(-3.0)
    control = StepControl(flow, torch.linspace(-0.3, 0.3, 64).unsqueeze(1), limit=1e-3)
    control.on_start(FitState(None, History()))
    begun = flow.nt_train
    assert begun > 1
    assert abs(control.j_ml(2 * begun) - control.j_ml(begun)) <= 1e-3
    assert abs(control.j_ml(begun) - control.j_ml(begun // 2)) > 1e-3
    assert [num for _, num, _ in control.record] == [2**k for k in range(1, len(control.record) + 1)]


def test_steps_so_few_that_a_row_runs_off_are_too_few():
    flow, _ = flow_at_rate(-3e10)
    control = StepControl(flow, torch.ones(8, 1), most=8)
    control.on_start(FitState(None, History()))
    assert flow.nt_train == 8


def test_evaluation_keeps_at_least_the_steps_of_training_up_to_the_most():
    flow, _ = flow_at_rate(-30.0)
    control, state = StepControl(flow, torch.ones(8, 1), most=24), FitState(None, History())
    seen = [(control.on_step(state), flow.nt_train, flow.nt_eval)[1:] for _ in range(3)]
    assert seen == [(16, 16), (24, 24), (24, 24)]


def test_training_begins_with_one_step_and_the_flow_keeps_its_mode():
    x = 0.5 * torch.randn(256, 2)
    flow = CNF(2, hidden_dims=(8,))
    control = StepControl(NormalizingFlow(flow), x, every=3)
    fit(NormalizingFlow(flow), x, steps=10, callbacks=[control], progress=False)
    assert flow.training
    assert flow.nt_train == 1
    assert [step for step, *_ in control.record] == [3, 6, 9]


def test_a_resumed_run_goes_on_with_its_number_of_steps():
    first, second = CNF(2), CNF(2)
    control = StepControl(first, torch.zeros(4, 2))
    first.nt_train = 32
    other = StepControl(second, torch.zeros(4, 2))
    other.on_start(FitState(None, History()))
    other.load_state_dict(control.state_dict())
    assert (second.nt_train, second.nt_eval) == (32, 32)


def test_what_has_no_steps_or_no_rows_is_refused():
    for flow in (RealNVP(2), CNF(2, solver="dopri5")):
        with pytest.raises(TypeError, match="fixed"):
            StepControl(flow, torch.zeros(4, 2))
    for rows in (torch.zeros(0, 2), torch.full((3, 2), torch.nan)):
        with pytest.raises(DataError, match="finite rows"):
            StepControl(CNF(2), rows)
    with pytest.raises(ValueError, match="limit"):
        StepControl(CNF(2), torch.zeros(4, 2), limit=0.0)
