import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.nn import PyroModule
from torch import nn

from pyro_dgm.errors import DataError, ShapeError, UnknownNameError
from pyro_dgm.guides import Empty
from pyro_dgm.models import VAE
from pyro_dgm.training import fit
from tests.training.toys import Game, Mean, rows, small_flow, weights


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "Did you mean steps=1"),
        ({"steps": 2.7}, "Did you mean steps=3"),
        ({"steps": 3, "epochs": 2}, "either steps or epochs"),
        ({"epochs": -1}, "epochs must be a positive integer"),
        ({"batch_size": 0}, "batch_size"),
        ({"lr": -0.1}, "Did you mean lr=0.1"),
        ({"lr": float("nan")}, "lr must be positive and finite"),
        ({"clip": 0}, "clip must be positive"),
        ({"max_time": -2}, "Did you mean max_time=2"),
        ({"seed": -5}, "Did you mean seed=5"),
        ({"log_every": 0}, "log_every"),
        ({"patience": 3}, "need validation="),
        ({"validation": rows(5), "validate_every": 0}, "validate_every"),
    ],
)
def test_an_impossible_number_is_refused_with_the_nearest_valid_one(options, message):
    with pytest.raises(ValueError, match=message):
        fit(Mean(), rows(), progress=False, **options)


@pytest.mark.parametrize("options", [{"steps": "10"}, {"lr": None}, {"seed": 1.5}, {"steps": True}])
def test_what_is_no_number_is_a_type_error(options):
    with pytest.raises(TypeError, match="must be a"):
        fit(Mean(), rows(), progress=False, **options)


def test_an_unknown_schedule_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'cosine'"):
        fit(Mean(), rows(), schedule="cosin")


@pytest.mark.parametrize("thing", [None, "flow", 3.0, lambda x: x, nn.Linear, (1, 2)])
def test_what_cannot_be_trained_is_refused_with_what_can(thing):
    with pytest.raises(TypeError, match="fit needs an objective"):
        fit(thing, rows())


def test_a_flow_is_refused_with_the_model_to_make_of_it():
    with pytest.raises(TypeError, match=r"NormalizingFlow\(flow\)"):
        fit(small_flow().flow, rows())


def test_a_model_without_a_guide_is_refused():
    with pytest.raises(TypeError, match="guide"):
        fit(VAE(nn.Linear(2, 2), 2), rows())


def test_an_svi_is_refused_with_what_to_pass_instead():
    svi = SVI(small_flow(), lambda x: None, pyro.optim.Adam({}), Trace_ELBO())
    with pytest.raises(TypeError, match=r"pair \(model, guide\)"):
        fit(svi, rows())


def test_a_model_whose_parameters_are_out_of_sight_is_refused():
    class Hidden(PyroModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 2).double()

        def forward(self, x, size=None, index=None):
            shift = pyro.param("theta", torch.zeros(2).double())
            with pyro.plate("data", size, subsample=index):
                pyro.sample("x", dist.Normal(shift + self.net(x), 1.0).to_event(1), obs=x)

    with pytest.raises(TypeError, match="theta"):
        fit((Hidden(), Empty()), rows(), steps=2, progress=False)


def test_nothing_to_train_is_refused():
    flow = small_flow()
    flow.flow.freeze()
    with pytest.raises(ValueError, match="no parameter to train"):
        fit(flow, rows())


def test_an_optimiser_of_other_parameters_is_refused():
    stranger = torch.optim.Adam(nn.Linear(1, 1).parameters())
    with pytest.raises(ValueError, match="none of the objective's trainable parameters"):
        fit(Mean(), rows(), optimizer=stranger)


def test_a_pyro_optimiser_is_refused():
    with pytest.raises(TypeError, match=r"torch\.optim\.Optimizer"):
        fit(Mean(), rows(), optimizer=pyro.optim.Adam({"lr": 0.1}))


def test_options_that_an_own_step_cannot_heed_are_refused():
    with pytest.raises(ValueError, match="steps itself"):
        fit(Game(), rows(), lr=0.1)


def test_a_loss_that_is_no_scalar_is_refused():
    class Rows(Mean):
        def forward(self, batch):
            return batch.x @ self.point

    with pytest.raises(TypeError, match="scalar loss"):
        fit(Rows(), rows(), progress=False)


def test_rows_of_another_size_are_refused_before_any_update():
    flow = small_flow()
    before = weights(flow)
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        fit(flow, rows(size=3), progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(flow), strict=True))


def test_a_value_outside_the_support_is_refused_in_the_first_step():
    vae = VAE(nn.Linear(2, 2), 2).double()

    class Guide(PyroModule):
        def forward(self, x, size=None, index=None):
            with pyro.plate("data", size, subsample=index):
                pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))

    with pytest.raises(DataError, match="outside the support"):
        fit((vae, Guide()), rows(), progress=False)
