"""NaN injected in data, loss, gradient and networks of every family: the step stops, and says where."""

import math

import pytest
import torch
from torch import nn

from pyro_dgm.errors import DataError, TrainingDiverged
from pyro_dgm.flows import CNF
from pyro_dgm.nets.velocity import Velocity
from pyro_dgm.objectives import FlowMatching
from pyro_dgm.training import fit
from pyro_dgm.training.own_step import networks_of
from tests.training.families import flow, gan, rows, vae
from tests.training.toys import same

BAD_STEP = 3


def flow_matching():
    torch.manual_seed(0)
    return FlowMatching(CNF(2, hidden_dims=(8,), nt_train=2).double())


FAMILIES = {"flow": flow, "vae": vae, "gan": gan, "flow matching": flow_matching}


def weights(objective):
    return [t.detach().clone() for net in networks_of(objective) for t in net.state_dict().values()]


def stopped(objective, data, match, **options):
    """Train until it stops at the bad step, with the weights of the step before; return the error."""
    seen = []

    def on_step(state):
        seen.append(weights(objective))

    with pytest.raises(TrainingDiverged, match=match) as caught:
        fit(
            objective,
            data,
            steps=9,
            batch_size=16,
            progress=False,
            callbacks=[on_step, *options.pop("callbacks", [])],
            **options,
        )
    assert len(seen) == BAD_STEP
    assert same(weights(objective), seen[-1])
    assert all(bool(t.isfinite().all()) for t in weights(objective))
    assert f"step {BAD_STEP}" in str(caught.value)
    return caught.value


class Rows:
    """Fresh rows, one of which is bad at one step."""

    def __init__(self, bad):
        self.bad, self.calls = bad, 0

    def sample(self, n):
        x = rows(n)
        if self.calls == BAD_STEP:
            x[5, 1] = self.bad
        self.calls += 1
        return x


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_a_bad_row_at_one_step_is_named(make, bad):
    error = stopped(make(), Rows(bad), "row 5")
    assert "the data, row 5" in error.where


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_a_bad_row_from_the_start_is_refused_before_the_first_step(make, bad):
    objective, x = make(), rows()
    before = weights(objective)
    x[5, 1] = bad
    with pytest.raises(DataError, match="row 5"):
        fit(objective, x, steps=2, progress=False)
    assert same(weights(objective), before)


def trainable(objective):
    found = {}
    for network in networks_of(objective):
        found |= {p: name for name, p in network.named_parameters() if p.requires_grad}
    return found


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_a_bad_gradient_is_named_by_its_parameter_or_player(make):
    objective, steps = make(), []
    for p in trainable(objective):
        p.register_hook(lambda grad: grad * math.nan if len(steps) == BAD_STEP else grad)
    error = stopped(objective, rows(), "gradient", callbacks=[steps.append])
    assert "parameter" in error.where or error.where in ("critic", "generator")


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_a_layer_that_gives_nan_is_named(make):
    objective, steps = make(), []
    kinds = (nn.Linear, Velocity)
    layers = [m for net in networks_of(objective) for m in net.modules() if isinstance(m, kinds)]

    def spoil(module, args, output):
        return output * math.nan if len(steps) == BAD_STEP else output

    for layer in layers:
        layer.register_forward_hook(spoil)
    error = stopped(objective, rows(), "is nan|is inf|is -inf|not finite", callbacks=[steps.append])
    assert error.where is not None


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_the_message_says_what_to_do(make):
    objective, steps = make(), []
    for p in trainable(objective):
        p.register_hook(lambda grad: grad * math.nan if len(steps) == BAD_STEP else grad)
    error = stopped(objective, rows(), "not finite|is nan", callbacks=[steps.append])
    assert "lr" in str(error) or "learning rate" in str(error)
    assert "outliers" in str(error)
