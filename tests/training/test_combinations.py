"""Every kind of objective with everything that fit can do for it, all at once."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import FakeData
from torchvision.transforms import ToTensor

from pyro_dgm.flows import CNF
from pyro_dgm.objectives import IWAE, FlowMatching
from pyro_dgm.training import CSVLog, Every, fit, warm_up
from pyro_dgm.training.learners import learner_of
from pyro_dgm.training.ranks import Ranks
from tests.training.families import FAMILIES, numbers, rows, vae
from tests.training.toys import Mean, same


def matching() -> FlowMatching:
    torch.manual_seed(0)
    return FlowMatching(CNF(2, hidden_dims=(8,)).double())


OBJECTIVES = FAMILIES | {"iwae": lambda: IWAE(vae().model, num_particles=3), "flow matching": matching}
EVERYTHING = {
    "steps": 9,
    "batch_size": 16,
    "seed": 3,
    "max_time": 600.0,
    "schedule": "warm-up-cosine",
    "validation": rows(9),
    "validate_every": 4,
    "patience": 50,
    "device": "auto",
    "progress": False,
}


def options_for(kind: str) -> dict:
    """What this kind of objective can heed, besides what all can."""
    own = {} if kind == "gan" else {"lr": 1e-2, "clip": 0.5, "accumulate": 2, "average": 0.9}
    half = {} if kind == "flow matching" else {"precision": "bf16"}
    one_loss = {"patience": None} if kind == "gan" else {}
    return EVERYTHING | own | half | one_loss


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_every_objective_takes_all_options_at_once(kind, tmp_path):
    objective, seen = OBJECTIVES[kind](), []
    before = numbers(objective)
    history = fit(
        objective,
        rows(),
        callbacks=[CSVLog(tmp_path / "log.csv"), Every(3, lambda state: seen.append(state.step))],
        **options_for(kind),
    )
    assert (history.stopped, history.num_steps, seen) == ("done", 9, [3, 6, 9])
    assert len(history.to_frame()) == len((tmp_path / "log.csv").read_text().splitlines()) - 1 == 9
    assert all(t.isfinite().all() for t in numbers(objective))
    assert not same(numbers(objective), before)
    assert any(name.startswith("validation_") for name in history.columns)
    assert "<svg" in history._repr_html_()


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_every_objective_is_resumed_to_the_bit_with_all_options_at_once(kind, tmp_path):
    whole = OBJECTIVES[kind]()
    expected = fit(whole, rows(), callbacks=[lambda state: None], **options_for(kind))
    for at in (3, 7, 10**9):
        resumed = OBJECTIVES[kind]()
        leave = lambda state, at=at: state.stop("interrupted") if state.step == at else None  # noqa: E731
        history = fit(
            resumed, rows(), checkpoint=tmp_path, resume=True, callbacks=[leave], **options_for(kind)
        )
    assert same(numbers(resumed), numbers(whole))
    for name in set(expected.columns) - {"seconds"}:
        assert np.array_equal(history[name], expected[name], equal_nan=True), name


@pytest.mark.slow
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_every_objective_trains_compiled_with_all_options_at_once(kind):
    compiled, plain = OBJECTIVES[kind](), OBJECTIVES[kind]()
    fit(compiled, rows(), compile="eager", **options_for(kind))
    fit(plain, rows(), **options_for(kind))
    for one, two in zip(numbers(compiled), numbers(plain), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-9)


def test_the_default_optimiser_is_fused_adam():
    objective = FAMILIES["flow"]()
    options = {"lr": 0.02, "clip": None, "accumulate": 1, "precision": "full", "noise_seed": None}
    optimizer = learner_of(objective, None, ranks=Ranks(), **options).optimizer
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["fused"]
    assert optimizer.defaults["lr"] == 0.02


def test_the_rate_rises_along_a_line_and_then_follows_another_schedule():
    history = fit(Mean(), rows(), steps=10, lr=0.1, schedule=warm_up(lambda done: 1 - done, share=0.5))
    assert history["lr"] == pytest.approx([0.0005, 0.02, 0.04, 0.06, 0.08, 0.1, 0.08, 0.06, 0.04, 0.02])
    with pytest.raises(ValueError, match="share must be between 0 and 1, but is 5"):
        warm_up(share=5)


def test_pictures_of_torchvision_are_data_with_and_without_a_transform():
    plain = FakeData(12, (1, 4, 4), 3, random_offset=1)
    as_tensors = FakeData(12, (1, 4, 4), 3, transform=ToTensor(), random_offset=1)
    learned = []
    for data in (plain, as_tensors, DataLoader(as_tensors, batch_size=12)):
        objective = Mean(torch.Size([1, 4, 4]))
        fit(objective, data, epochs=3, batch_size=12, progress=False)
        learned.append(numbers(objective))
    assert same(learned[0], learned[1])
    for one, two in zip(learned[0], learned[2], strict=True):
        torch.testing.assert_close(one, two)
