"""Generated shapes, dtypes and bad values: a typed error or a right answer, and nothing else."""

import math
import warnings
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_dgm.errors import PyroDGMError
from pyro_dgm.flows import MAF, Planar, RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.training import fit

TYPED = (PyroDGMError, ValueError, TypeError, NotImplementedError)
DTYPES = [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool]
MODELS = {
    "real-nvp": NormalizingFlow(RealNVP(2, num_layers=2, hidden_dims=(4,))),
    "maf": NormalizingFlow(MAF(3, num_layers=1, hidden_dims=(4,))),
    "planar": NormalizingFlow(Planar(1, num_layers=2)),
}


@st.composite
def arrays(draw):
    """Rows of any shape and dtype, with a bad value now and then, as tensor, array or list."""
    shape = draw(st.lists(st.integers(0, 4), min_size=0, max_size=3))
    seed = draw(st.integers(0, 99))
    x = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if x.numel() and draw(st.booleans()):
        x.view(-1)[draw(st.integers(0, x.numel() - 1))] = draw(
            st.sampled_from([math.nan, math.inf, 1e30, -0.0])
        )
    dtype = draw(st.sampled_from(DTYPES))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        x = x.to(dtype)
    return draw(st.sampled_from([x, x.numpy(), x.tolist(), x.clone().requires_grad_(x.is_floating_point())]))


def score(model, x):
    scores = model.log_prob(torch.as_tensor(x))
    assert scores.shape == torch.as_tensor(x).shape[:-1]


def draw(model, n):
    assert model.sample(n).shape == (n, *model.flow.event_shape)


def train(model, x, options):
    history = fit(model, x, **{"steps": 2, "progress": False} | options)
    assert history.num_steps == 2
    assert all(bool(p.isfinite().all()) for p in model.parameters())


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "batch_size": st.sampled_from([-1, 0, 1, 2, 1000, 2.5]),
        "lr": st.sampled_from([1e-3, 0.0, -1.0, math.nan, "a"]),
        "clip": st.sampled_from([None, 1.0, -1.0, math.inf]),
        "accumulate": st.sampled_from([0, 1, 3, 1.5]),
        "average": st.sampled_from([None, 0.5, 1.0]),
        "precision": st.sampled_from(["full", "bf16", "fp8"]),
        "row_noise": st.booleans(),
        "seed": st.sampled_from([0, 7, -1, 2**63, 1.5]),
        "schedule": st.sampled_from([None, "cosine", "cosin", 3]),
    },
)


def check(name, kind, x, n, options):
    model = MODELS[name]
    calls = {
        "score": lambda: score(model, x),
        "draw": lambda: draw(model, n),
        "train": lambda: train(model, x, options),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(*TYPED):
            calls[kind]()


ARGUMENTS = {
    "name": st.sampled_from(sorted(MODELS)),
    "kind": st.sampled_from(["score", "draw", "train"]),
    "x": arrays(),
    "n": st.integers(0, 5),
    "options": OPTIONS,
}
RULES = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@settings(max_examples=200, **RULES)
@given(**ARGUMENTS)
def test_two_hundred_generated_calls_answer_or_say_why_not(name, kind, x, n, options):
    check(name, kind, x, n, options)


@pytest.mark.soak
@settings(max_examples=2000, **RULES)
@given(**ARGUMENTS)
def test_two_thousand_generated_calls_answer_or_say_why_not(name, kind, x, n, options):
    check(name, kind, x, n, options)
