"""Names in Pyro's parameter store: each module has its own, and what is computed with is what is trained."""

import copy
import pickle

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.nn import PyroModule, PyroSample
from torch import nn

from pyro_dgm.flows import RealNVP
from pyro_dgm.naming import NamedPyroModule, unique_name, unregistered


class Affine(NamedPyroModule):
    def __init__(self, net=None, name=None):
        super().__init__(name)
        self.net = nn.Linear(1, 1) if net is None else net

    def forward(self, x):
        loc = self.net(x)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(loc, 1.0).to_event(1), obs=torch.full_like(x, 3.0))


def train(model, steps=5, x=None):
    x = torch.ones(4, 1) if x is None else x
    svi = SVI(model, lambda x: None, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
    return [svi.step(x) for _ in range(steps)]


def store_names():
    return {name.split(".")[0] for name in pyro.get_param_store().keys()}  # noqa: SIM118


def test_automatic_and_given_names_never_repeat():
    names = [
        unique_name("kind"),
        unique_name("kind"),
        unique_name("kind", "mine"),
        unique_name("kind", "mine"),
    ]
    assert len(set(names)) == 4


def test_a_copy_and_an_unpickled_twin_have_names_of_their_own():
    model = Affine(name="shared")
    for module in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        train(module, 1)
    assert len(store_names()) == 3


def test_a_name_survives_adoption_by_an_unnamed_parent():
    class Parent(PyroModule):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x)

    first, second = Affine(), Affine()
    train(first, 1)  # used before it is adopted
    for parent in (Parent(first), Parent(second)):
        train(parent, 1)
    assert len(store_names()) == 2


def test_a_stale_entry_of_the_store_gives_way_to_the_module():
    model = Affine(name="stale")
    train(model, 1)
    name = next(iter(pyro.get_param_store().keys()))
    pyro.get_param_store()._params[name] = torch.zeros(1, 1, requires_grad=True)
    before = model.net.weight.clone()
    train(model, 3)
    assert (model.net.weight != before).all()


def test_a_parameter_that_is_not_contiguous_trains():
    model = Affine(nn.Linear(2, 2))
    model.net.weight = nn.Parameter(torch.randn(2, 2).T)
    before = model.net.weight.detach().clone()
    train(model, 3, torch.ones(4, 2))
    assert (model.net.weight != before).all()


def test_a_bayesian_network_of_the_users_inside_is_named_after_its_owner():
    net = PyroModule[nn.Linear](1, 1)
    net.weight = PyroSample(dist.Normal(torch.zeros(1, 1), 1.0).to_event(2))
    models = [Affine(net), Affine(copy.deepcopy(net))]
    models.append(copy.deepcopy(models[0]))
    sites = [
        next(name for name in pyro.poutine.trace(model).get_trace(torch.ones(2, 1)).nodes if "weight" in name)
        for model in models
    ]
    assert len(set(sites)) == 3


def test_nothing_is_registered_where_the_optimiser_is_the_users_own():
    flow = RealNVP(2, num_layers=1)
    with unregistered(), pyro.poutine.trace() as trace:
        pyro.sample("x", flow())
    assert [site["type"] for site in trace.trace.nodes.values()] == ["sample"]
    assert len(store_names()) == 0
