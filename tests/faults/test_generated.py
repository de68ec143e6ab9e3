"""Generated shapes, dtypes and bad values: a right answer, or an error that the library raised on purpose."""

import math
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_dgm.errors import PyroDGMError
from tests.faults.entry_points import ENTRIES, Given, quietly

ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / folder) for folder in ("pyro_dgm", "models", "guides"))
TYPED = (PyroDGMError, ValueError, TypeError, NotImplementedError, AttributeError)
DTYPES = [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool]
NO_ROWS = [None, "moons", 3, 2.5, {"x": 1}, [[1.0], [1.0, 2.0]], [["a"]], object()]


@st.composite
def arrays(draw, width):
    """Rows, mostly of one width, of some dtype and form, with a bad value now and then; or no rows."""
    kind = draw(st.sampled_from(["rows"] * 12 + ["any"] * 3 + ["none"]))
    if kind == "none":
        return draw(st.sampled_from(NO_ROWS))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    if kind == "rows":
        shape = (draw(st.sampled_from([0, 1, 2, 3, 6, 12, 12, 30, 30, 30])), width)
    x = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    if x.numel() and draw(st.integers(0, 5)) == 0:
        bad = st.sampled_from([math.nan, math.inf, -math.inf, 1e30, -1e20, -0.0])
        x.view(-1)[draw(st.integers(0, x.numel() - 1))] = draw(bad)
    if draw(st.integers(0, 7)) == 0:
        x = x * 0 + 1  # all rows alike
    dtype = draw(st.sampled_from([torch.float32] * 12 + DTYPES))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        x = x.to(dtype)
    forms = [x, x, x, x, x.numpy(), x.tolist(), x.t() if x.dim() == 2 else x]
    return draw(st.sampled_from([*forms, x.clone().requires_grad_(x.is_floating_point())]))


@st.composite
def cases(draw):
    """Arguments for any entry: two samples, most often of one width."""
    width = draw(st.sampled_from([2] * 6 + [3, 3, 1, 1, 0, 5]))
    other = draw(st.sampled_from([width] * 6 + [3, 2]))
    return Given(
        x=draw(arrays(width)),
        y=draw(arrays(other)),
        n=draw(st.one_of(st.sampled_from([1, 2, 3, 5, (), (2,), (0, 3)]), COUNTS)),
        number=draw(NUMBERS),
        name=draw(NAMES),
        options=draw(st.one_of(st.just({}), OPTIONS)),
        which=draw(st.floats(0, 1, exclude_max=True, width=16)),
    )


COUNTS = st.sampled_from([0, -1, 2.5, 3.0, "3", None, (-1,), (2.5,), True, [4, 4]])
NUMBERS = st.sampled_from([0.1, 1, 3, 0, -1, math.nan, math.inf, "a", None, 2**70])
NAMES = st.sampled_from(["moons", "mons", "digits", "8gaussians", "", "pair", "pair", "hidden_dim", "layers"])
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
        "callbacks": st.sampled_from([(), print, [3], None]),
        "stpes": st.just(3),
        "device": st.sampled_from([None, "cpu", "gpu", "auto"]),
        "resume": st.sampled_from([True, "yes"]),
    },
).filter(lambda options: len(options) < 5)

RULES = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck), "database": None}


def is_on_purpose(error):
    """Whether a line of ours raised it: it is said in our words, and not met by chance in torch or here."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename.startswith(OURS) and (last.line or "").startswith("raise ")


def check(entry, case, outcomes):
    try:
        quietly(ENTRIES[entry], case)
    except AssertionError:
        raise
    except TYPED as error:
        if isinstance(error, AttributeError | TypeError) and is_of_the_test(error):
            outcomes["not a call"] += 1
            return
        if not is_on_purpose(error) or len(str(error)) < 16:
            raise AssertionError(f"{entry}: {type(error).__name__} from within: {error}") from error
        outcomes["refused"] += 1
    else:
        outcomes["answered"] += 1


def is_of_the_test(error):
    """Whether the test itself cannot handle what the case holds, after the library has."""
    return traceback.extract_tb(error.__traceback__)[-1].filename.endswith("entry_points.py")


def run(examples, record_property):
    outcomes = Counter()

    @settings(max_examples=examples, **RULES)
    @given(entry=st.sampled_from(sorted(ENTRIES)), case=cases())
    def every_call_answers_or_says_why_not(entry, case):
        check(entry, case, outcomes)

    every_call_answers_or_says_why_not()
    record_property("outcomes", dict(outcomes))
    assert sum(outcomes.values()) >= examples
    assert outcomes["answered"] > examples / 10
    assert outcomes["refused"] > examples / 10


@pytest.mark.slow
def test_two_hundred_generated_calls_answer_or_say_why_not(record_property):
    run(200, record_property)


@pytest.mark.soak
def test_two_thousand_generated_calls_answer_or_say_why_not(record_property):
    run(2000, record_property)
