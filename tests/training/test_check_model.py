"""The battery passes every public flow, model, guide and objective, and names what is wrong."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from pyro_dgm import flows, guides, models, objectives
from pyro_dgm.errors import CheckFailed
from pyro_dgm.flows import RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.objectives import Batch, Regulariser, Watch
from pyro_dgm.training import check_model
from pyro_dgm.training.model_checks import CHECKS
from tests.contract.cases import CASES, FURTHER, context_for, data_for
from tests.training.public import PUBLIC

QUICK = ("flow", "vae", "gan", "autoencoder", "auto flow", "flow matching", "dequantized")
PARAMS = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in PUBLIC]


@pytest.mark.parametrize("name", PARAMS)
def test_every_public_model_guide_and_objective_passes(name):
    make, data = PUBLIC[name]
    assert len(check_model(make, None if data is None else data())) == len(CHECKS)


FLOWS = [
    pytest.param(name, marks=pytest.mark.soak if name in FURTHER else pytest.mark.slow) for name in CASES
]


@pytest.mark.parametrize("name", FLOWS)
def test_every_public_flow_passes(name):
    torch.manual_seed(3)
    make = CASES[name]
    flow = make()
    rows = None
    if flow.context_dim:
        rows = (data_for(flow, 16).detach(), context_for(flow, 16))
    assert len(check_model(make, rows)) == len(CHECKS)


def parts_of(thing, seen):
    """The classes of everything that a made thing consists of, those that they derive from included."""
    if id(thing) in seen:
        return set()
    seen[id(thing)] = thing
    found = set(type(thing).__mro__)
    inner = list(thing.modules())[1:] if isinstance(thing, nn.Module) else []
    for value in (*inner, *vars(thing).values()):
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, nn.Module | Regulariser | Watch) or hasattr(part, "held_out"):
                found |= parts_of(part, seen)
            elif type(part).__module__.startswith("pyro_dgm"):
                found.add(type(part))
    return found


def test_no_public_flow_model_guide_or_objective_is_missing_in_these_lists():
    made = [make() for make in CASES.values()] + [make() for make, _ in PUBLIC.values()]
    seen = {}
    covered = set().union(*(parts_of(thing, seen) for thing in made))
    values = {"Capabilities", "Batch", "AdversarialLosses", "GameWarning"}  # no parts of a model
    kept_by_a_function = {"ZukoFlow"}  # made by from_zuko, and checked below
    for room in (flows, models, guides, objectives):
        for name in set(room.__all__) - values - kept_by_a_function:
            thing = getattr(room, name)
            if inspect.isclass(thing):
                assert thing in covered, (
                    f"{room.__name__}.{name} is in no list: add it to tests/training/public.py"
                )


@pytest.mark.slow
def test_flows_of_zuko_pass():
    import zuko

    assert check_model(lambda: flows.from_zuko(zuko.flows.MAF(2, transforms=1, hidden_features=(4,))))


def small():
    return RealNVP(2, num_layers=2, hidden_dims=(4,))


class Shared(NormalizingFlow):
    """Copies keep the weights of the original."""

    def __deepcopy__(self, memo):
        return self


class Stuck(NormalizingFlow):
    """Has a parameter that nothing trains, and no other."""

    def __init__(self, flow):
        super().__init__(flow.requires_grad_(False))
        self.useless = nn.Parameter(torch.zeros(1))


class Forgetful(NormalizingFlow):
    """Keeps part of what it computes with where no state_dict sees it."""

    def __init__(self, flow):
        super().__init__(flow)
        self.steps = 0

    def forward(self, x=None, context=None, **options):
        self.steps += x is not None
        return super().forward(x if x is None else x + 0.1 * self.steps, context, **options)


class Mixing(NormalizingFlow):
    """Scores rows by what else is in the batch."""

    def log_prob(self, x, context=None):
        return super().log_prob(x - x.mean(0), context)


class Wide(NormalizingFlow):
    """Draws rows of another shape than it scores."""

    def sample(self, n, **options):
        return super().sample(n, **options).unsqueeze(1)


class Broadcasts(nn.Module):
    """A loss that takes rows of whatever shape."""

    def __init__(self):
        super().__init__()
        self.point = nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch):
        return (batch.x - self.point).square().mean()


class FixedDtype(NormalizingFlow):
    """Computes in single precision, whatever is asked."""

    def forward(self, x=None, context=None, **options):
        return super().forward(x if x is None else x.float(), context, **options)


WRONG = [
    (lambda: Shared(small()), None, "a copy shares weights"),
    (lambda: Stuck(small()), None, "trains with finite weights"),
    (lambda: Forgetful(small()), torch.randn(24, 2), "other weights than one without a break"),
    (lambda: Mixing(small()), None, "scores each row alone"),
    (lambda: Wide(small()), torch.randn(24, 2), r"sample\(1\) has shape \(1, 1, 2\)"),
    (lambda: FixedDtype(small()), None, "computes in double precision"),
    (Broadcasts, torch.randn(24, 2), "a column too many was not refused"),
]


@pytest.mark.parametrize(("make", "rows", "reason"), WRONG)
def test_what_is_wrong_is_named(make, rows, reason):
    with pytest.raises(CheckFailed, match=reason):
        check_model(make, rows)


def test_the_example_of_the_page_of_faults_fails_as_it_says(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    said = page.split("```\n\n`CheckFailed: ")[1].split(": Tensor-likes")[0]
    (tmp_path / "example_of_the_page.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CheckFailed) as caught:
        import_module("example_of_the_page")
    assert str(caught.value).startswith(said)


def test_what_is_no_model_is_a_type_error():
    with pytest.raises(TypeError, match="rows="):
        check_model(lambda: nn.Linear(2, 2))
    with pytest.raises(TypeError, match="fit needs an objective"):
        check_model(lambda: 3)
