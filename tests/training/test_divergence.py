import math
import warnings

import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Distribution

from pyro_dgm.errors import TrainingDiverged
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.training import fit
from pyro_dgm.training.optimizers import keeps_finite
from tests.training.toys import Game, Losses, Mean, rows, same, small_flow, weights

BAD_STEP = 3


class Poisoned(Mean):
    """Goes wrong at one step, in its loss or in its gradient."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.norm = kind, nn.BatchNorm1d(2).double()

    def forward(self, batch):
        loss = super().forward(batch) + 0.0 * self.norm(batch.x).sum()
        if len(self.batches) == BAD_STEP + 1:
            if self.kind == "loss":
                return loss * math.nan
            if self.kind == "infinite loss":
                return loss + math.inf
            if self.kind == "gradient":
                loss.register_hook(lambda grad: grad * math.nan)
        return loss


class PoisonedData:
    """Fresh rows, of which one is not finite at one step."""

    def __init__(self) -> None:
        self.calls = 0

    def sample(self, n):
        x = rows(n)
        x[2, 1] = math.nan if self.calls == BAD_STEP else 0.0
        self.calls += 1
        return x


@pytest.mark.parametrize(
    ("kind", "where"),
    [("loss", None), ("infinite loss", None), ("gradient", "'point'"), ("data", "the data, row 2")],
)
def test_what_is_not_finite_stops_at_that_step_with_the_last_finite_state(kind, where):
    loss, before = Poisoned(kind), []
    data = PoisonedData() if kind == "data" else rows(8)
    with pytest.raises(TrainingDiverged, match=f"stopped at step {BAD_STEP}") as caught:
        fit(loss, data, steps=10, callbacks=[lambda state: before.append(weights(loss))], progress=False)
    assert len(before) == BAD_STEP
    assert same(weights(loss), before[-1])
    assert caught.value.step == BAD_STEP
    assert where is None or where in caught.value.where


def test_the_site_is_named():
    class Overflow(nn.Module):
        def forward(self, z):
            return (z, 1e200 * (1e200 * z))

    def normal(parameters):
        loc, scale = parameters
        return dist.Normal(loc, scale.abs()).to_event(1)

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 4).double()

        def forward(self, x):
            return self.net(x).chunk(2, -1)

    vae = VAE(Overflow(), 2, likelihood=normal, guide=AmortizedNormal(Encoder())).double()
    with pytest.raises(TrainingDiverged, match="'x'"):
        fit(vae, rows(), steps=3, progress=False)


def test_the_layer_is_named_when_a_network_feeds_a_distribution_with_nan():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 4).double()

        def forward(self, x):
            return (1e308 * 1e308 * self.net(x)).chunk(2, -1)

    class Blown(nn.Linear):
        def forward(self, x):
            return super().forward(x) / 0.0

    encoder = Encoder()
    encoder.net = Blown(2, 4).double()
    vae = VAE(nn.Linear(2, 2), 2, guide=AmortizedNormal(encoder)).double()
    with pytest.raises(TrainingDiverged, match=r"layer '.*encoder\.net'"):
        fit(vae, rows().sigmoid().round(), steps=3, progress=False)


def test_an_update_that_overflows_is_undone():
    loss = Mean()
    blow_up = torch.optim.SGD(loss.parameters(), lr=1e308)
    with pytest.raises(TrainingDiverged, match="step 1 "):
        fit(loss, 1e6 * rows(), steps=5, clip=None, optimizer=blow_up, progress=False)
    assert torch.equal(loss.point.detach(), torch.zeros(2).double())


def test_a_gradient_whose_squares_overflow_is_clipped_and_not_refused():
    class Steep(Mean):
        def forward(self, batch):
            return 1e25 * self.point.sum()

    loss = Steep().float()
    fit(loss, rows().float(), steps=1, clip=1.0, optimizer=torch.optim.SGD, lr=1.0, progress=False)
    assert loss.point.detach().norm().item() == pytest.approx(1.0, rel=1e-5)


def test_a_parameter_that_is_not_finite_at_the_start_is_named():
    flow = small_flow()
    with torch.no_grad():
        next(flow.flow.conditioners[1].parameters()).fill_(math.inf)
    with pytest.raises(ValueError, match=r"conditioners\.1.*not finite before the first step"):
        fit(flow, rows(), progress=False)


def test_an_own_step_that_reports_nan_is_undone():
    game = Game(Losses(1.0, math.nan))
    before = weights(game.net)
    with pytest.raises(TrainingDiverged, match="generator is nan"):
        fit(game, rows(), progress=False)
    assert same(weights(game.net), before)


@pytest.mark.parametrize("error", [KeyError, TrainingDiverged])
@pytest.mark.parametrize("setting", [True, False])
def test_validation_is_as_it_was_after_an_error(error, setting):
    class Raises(Mean):
        def forward(self, batch):
            if error is KeyError and len(self.batches) == 2:
                raise KeyError("mine")
            return super().forward(batch) * (math.nan if len(self.batches) == 2 else 1.0)

    Distribution.set_default_validate_args(setting)
    with pytest.raises(error):
        fit(Raises(), rows(), progress=False)
    assert Distribution._validate_args is setting
    Distribution.set_default_validate_args(True)


def test_validation_is_on_in_the_first_step_and_off_afterwards():
    seen = []

    class Watch(Mean):
        def forward(self, batch):
            seen.append(Distribution._validate_args)
            return super().forward(batch)

    fit(Watch(), rows(), steps=3, progress=False)
    assert seen == [True, False, False]
    assert Distribution._validate_args


class Pulled(Mean):
    """Has the gradients it is given, one after the other, and a loss of zero while the point is finite."""

    def __init__(self, gradients):
        super().__init__()
        self.float()
        self.gradients = list(gradients)

    def forward(self, batch):
        gradient = self.gradients.pop(0) if self.gradients else 0.0
        return (gradient * (self.point - self.point.detach())).sum()


HUGE = 3.4e38  # just below the largest number of single precision


@pytest.mark.parametrize(
    ("optimizer", "lr", "gradients"),
    [
        (torch.optim.SGD, 1.0, [1.0, 2.0, HUGE, HUGE]),
        (None, 3e37, [1.0] * 20),
        (None, 1e-2, [1.0, 1.0, *[-HUGE] * 10, HUGE]),
        (lambda ps: torch.optim.Adam(ps, 1e-2, fused=True), 1.0, [1.0, 1.0, *[-HUGE] * 10, HUGE]),
    ],
)
def test_the_last_finite_weights_come_back_whichever_update_overflowed(optimizer, lr, gradients):
    loss, before = Pulled(gradients), []

    def remember(state):
        before.append(loss.point.detach().clone())

    with pytest.raises(TrainingDiverged):
        fit(
            loss,
            rows().float(),
            steps=99,
            clip=None,
            optimizer=optimizer,
            lr=lr,
            callbacks=[remember],
            progress=False,
        )
    finite = [point for point in before if point.isfinite().all()]
    assert len(finite) == len(before) - 1
    assert torch.equal(loss.point.detach(), finite[-1])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e17, 1e17) | st.floats(-2.0, 2.0), max_size=12), st.floats(1e-6, 1.0))
def test_updates_of_the_default_optimiser_that_are_not_kept_are_finite(gradients, lr):
    loss = Pulled(gradients)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of advice about the loss, which does not fall
        fit(loss, rows().float(), steps=len(gradients) + 1, clip=None, lr=lr, progress=False)
    assert loss.point.isfinite().all()


@pytest.mark.parametrize(
    ("dtype", "options", "steps", "keeps"),
    [
        (torch.float, {"fused": True}, 1, True),
        (torch.double, {"fused": True}, 1, True),
        (torch.float, {"fused": True}, 0, False),  # its moments are not there yet
        (torch.float, {"fused": False}, 1, False),  # could stop between two weights
        (torch.bfloat16, {"fused": True}, 1, False),
    ],
)
def test_which_updates_keep_weights_finite(dtype, options, steps, keeps):
    weight = nn.Parameter(torch.ones(3, dtype=dtype))
    optimizer = torch.optim.Adam([weight], **options)
    for _ in range(steps):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert keeps_finite(optimizer) is keeps
