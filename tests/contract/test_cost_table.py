"""Which direction of a flow is cheap, by the number of passes and of sequential solves of its networks."""

import pytest
import torch
from torch import nn

from pyro_dgm.flows import (
    CNF,
    IAF,
    MAF,
    NAF,
    NICE,
    UNAF,
    BernsteinFlow,
    CircularSpline,
    Composition,
    CouplingFlow,
    Embedded,
    Given,
    ImageFlow,
    NeuralSplineAutoregressive,
    OTFlow,
    Planar,
    Radial,
    RealNVP,
    SumOfSquaresFlow,
    Sylvester,
    Whitened,
)
from pyro_dgm.nets import ConvConditioner, LayerParameters, MaskedMLP
from tests.contract.cases import CASES, FURTHER, context_for, data_for, perturbed

PASS, SOLVE, RATES = "pass", "solve", "rates"
BOTH_CHEAP = RealNVP, NICE, CouplingFlow, CircularSpline
DENSITY_CHEAP = MAF, NeuralSplineAutoregressive, NAF, UNAF, BernsteinFlow, SumOfSquaresFlow
DRAW_CHEAP = (IAF,)
RESIDUAL = Planar, Radial, Sylvester  # one scalar equation a layer, and no network but that of the context
INTEGRATED = CNF, OTFlow
OF_IMAGES = (ImageFlow,)


def working(flow):
    """The flow within a composed, whitened, embedded or given one that does the work."""
    while isinstance(flow, Composition | Whitened | Embedded | Given):
        flow = flow.parts[0] if isinstance(flow, Composition) else flow.flow
    return flow


def named(*kinds):
    """The cases of some kinds of flows."""
    names = [name for name, make in CASES.items() if isinstance(working(make()), kinds)]
    return [pytest.param(name, marks=pytest.mark.slow if name in FURTHER else []) for name in names]


@pytest.fixture
def counted(monkeypatch):
    """What the networks have done, in order."""
    done = []
    for network, method, what in (
        (MaskedMLP, "solve", SOLVE),
        (LayerParameters, "forward", PASS),
        (ConvConditioner, "forward", PASS),
    ):
        original = getattr(network, method)

        def counting(self, *args, original=original, what=what, **options):
            done.append(what)
            return original(self, *args, **options)

        monkeypatch.setattr(network, method, counting)
    return done


def listen(flow, done):
    """Count the passes of the conditioners of a flow; return how many conditioners there are."""
    found = [
        m.conditioners for m in flow.modules() if isinstance(getattr(m, "conditioners", None), nn.ModuleList)
    ]
    for conditioner in found[0]:
        conditioner.register_forward_hook(lambda *_: done.append(PASS))
    return len(found[0])


def test_every_kind_of_flow_has_its_place_in_the_table():
    table = *BOTH_CHEAP, *DENSITY_CHEAP, *DRAW_CHEAP, *RESIDUAL, *INTEGRATED, *OF_IMAGES
    for name, make in CASES.items():
        assert sum(isinstance(working(make()), kind) for kind in table) == 1, name


def costs(flow, done):
    """What a density, a draw, and a draw with its density cost."""
    context, y = context_for(flow), data_for(flow, 4)
    for use in (
        lambda: flow(context).log_prob(y),
        lambda: flow(context).sample((4,)),
        lambda: (d := flow(context)).log_prob(d.rsample((4,))),
    ):
        done.clear()
        use()
        yield list(done)


@pytest.mark.parametrize("name", named(*BOTH_CHEAP))
def test_couplings_cost_one_pass_in_both_directions(name, counted):
    flow = perturbed(CASES[name]())
    layers = listen(flow, counted)
    assert list(costs(flow, counted)) == [[PASS] * layers] * 3


@pytest.mark.parametrize("name", named(*DENSITY_CHEAP))
def test_flows_that_read_the_data_pass_for_a_density_and_solve_for_a_draw(name, counted):
    flow = perturbed(CASES[name]())
    layers = listen(flow, counted)
    assert list(costs(flow, counted)) == [[PASS] * layers, [SOLVE] * layers, [SOLVE] * layers]


@pytest.mark.parametrize("name", named(*DRAW_CHEAP))
def test_flows_that_read_the_latent_pass_for_a_draw_and_solve_for_foreign_data(name, counted):
    flow = perturbed(CASES[name]())
    layers = listen(flow, counted)
    assert list(costs(flow, counted)) == [[SOLVE] * layers, [PASS] * layers, [PASS] * layers]


@pytest.mark.parametrize("name", named(*RESIDUAL))
def test_residual_flows_read_their_context_once_for_any_number_of_uses(name, counted):
    flow = perturbed(CASES[name]())
    d = flow(context_for(flow, 4))
    d.log_prob(d.sample())
    d.log_prob(data_for(flow, 4))
    assert counted == [PASS]


@pytest.mark.parametrize("name", named(*INTEGRATED))
@pytest.mark.parametrize("mode", [True, False], ids=["training", "evaluation"])
def test_solves_cost_four_rates_a_step_in_both_directions(name, mode, counted, monkeypatch):
    flow = perturbed(CASES[name]()).train(mode)
    prepare = flow.velocity.prepare

    def counting():
        evaluate = prepare()
        return lambda s: counted.append(RATES) or evaluate(s)

    monkeypatch.setattr(flow.velocity, "prepare", counting)
    steps = flow.nt_train if mode else flow.nt_eval
    assert list(costs(flow, counted)) == [[RATES] * 4 * steps] * 3


@pytest.mark.parametrize("name", named(*OF_IMAGES))
def test_image_flows_evaluate_every_network_once_in_both_directions(name, counted):
    flow = perturbed(CASES[name]()).eval()
    masked = [m for m in flow.modules() if isinstance(m, MaskedMLP)]
    for network in masked:
        network.register_forward_hook(lambda *_: counted.append(PASS))
    convolutions = sum(isinstance(m, ConvConditioner) for m in flow.modules())
    assert convolutions
    density, draw, both = (sorted(done) for done in costs(flow, counted))
    assert density == [PASS] * (convolutions + len(masked))
    assert draw == both == [PASS] * convolutions + [SOLVE] * len(masked)


def test_building_a_distribution_evaluates_no_conditioner(counted):
    flow = perturbed(CASES["maf-2d-context"]())
    listen(flow, counted)
    flow(torch.zeros(4, 3)).expand(torch.Size([2, 4])).to_event(1)
    assert not counted
