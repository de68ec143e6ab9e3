import numpy as np
import pytest
import torch
from torch.distributions import Normal
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pyro_dgm.data import two_moons
from pyro_dgm.data.images import image_data
from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.training import fit
from pyro_dgm.training.batches import as_source
from tests.training.toys import Mean, rows, small_flow

LIKE = torch.empty(0, dtype=torch.double)


def epoch(source, number: int = 0) -> list:
    return [source.batch(number * source.steps_per_epoch + i) for i in range(source.steps_per_epoch)]


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_each_row_comes_exactly_once_in_an_epoch(batch_size):
    source = as_source(rows(50), batch_size, 0, LIKE)
    for number in range(2):
        batches = epoch(source, number)
        assert sorted(torch.cat([b.index for b in batches]).tolist()) == list(range(50))
        assert all(torch.equal(b.x, rows(50)[b.index]) and b.size == 50 for b in batches)


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    first, second = (as_source(rows(50), 7, 5, LIKE) for _ in range(2))
    _ = epoch(second, 0), torch.randn(3)
    assert torch.equal(first.batch(11).index, second.batch(11).index)
    assert not torch.equal(first.batch(3).index, first.batch(11).index)


def test_the_loss_of_an_uneven_last_batch_is_per_row():
    flow, x = small_flow(), rows(10)
    history = fit(flow, x, epochs=1, batch_size=7, lr=1e-12, progress=False)
    # at a standstill, each batch's loss is the mean over its own rows
    source = as_source(x, 7, 0, LIKE)
    for step in range(2):
        expected = -flow.log_prob(source.batch(step).x).mean().item()
        assert history.losses[step] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "data",
    [
        rows(50).numpy(),
        rows(50).tolist(),
        TensorDataset(rows(50)),
        TensorDataset(rows(50), torch.arange(50)),
        DataLoader(TensorDataset(rows(50), torch.arange(50)), batch_size=8),
        DataLoader(rows(50), batch_size=8),
        two_moons(),
        Normal(torch.zeros(2), 1.0),
        small_flow(),
    ],
    ids=lambda data: type(data).__name__,
)
def test_every_kind_of_data_gives_batches_of_the_models_dtype(data):
    batch = as_source(data, 8, 0, LIKE).batch(0)
    assert batch.x.shape == (8, 2)
    assert batch.x.dtype == torch.double
    assert batch.context is None


def test_a_data_frame_is_rows():
    pandas = pytest.importorskip("pandas")
    batch = as_source(pandas.DataFrame(rows(50).numpy()), 8, 0, LIKE).batch(0)
    assert torch.equal(batch.x, rows(50)[batch.index])


def test_a_map_style_data_set_is_read_by_index():
    class Squares(Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, i):
            return torch.tensor([float(i), float(i) ** 2]), torch.tensor([float(i)])

    batches = epoch(as_source(Squares(), 4, 0, LIKE))
    for batch in batches:
        assert torch.equal(batch.x[:, 1], batch.x[:, 0] ** 2)
        assert torch.equal(batch.context, batch.x[:, :1])
    assert [b.size for b in batches] == [10, 10, 10]


def test_a_context_stays_with_its_row():
    x = rows(50)
    batch = as_source((x, x + 1), 8, 0, LIKE).batch(3)
    assert torch.equal(batch.context, batch.x + 1)


def test_a_loader_is_started_anew_and_knows_the_number_of_rows():
    source = as_source(DataLoader(rows(10), batch_size=4), 1, 0, LIKE)
    batches = [source.batch(i) for i in range(6)]
    assert [len(b.x) for b in batches] == [4, 4, 2] * 2
    assert {b.size for b in batches} == {10}


def test_images_binarised_dynamically_are_drawn_anew():
    grey, labels = torch.rand(20, 1, 4, 4), torch.zeros(20, dtype=torch.long)
    images = image_data("noise", (grey, labels), (grey, labels), binarize="dynamic")
    source = as_source(images, len(images.train), 0, torch.empty(0))
    first, second = source.batch(0), source.batch(1)
    assert set(first.x.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(first.x[first.index.argsort()], second.x[second.index.argsort()])


def test_a_target_gives_fresh_rows_at_each_step():
    loss = Mean()
    fit(loss, two_moons(), steps=2, batch_size=16, progress=False)
    assert not torch.equal(loss.batches[0].x, loss.batches[1].x)
    assert loss.batches[0].size is None


def test_epochs_of_data_without_end_are_refused():
    with pytest.raises(ValueError, match="Say steps="):
        fit(Mean(), two_moons(), epochs=1)


def test_as_many_contexts_as_rows_are_needed():
    with pytest.raises(ShapeError, match="50 rows and 49 contexts"):
        as_source((rows(50), rows(49)), 8, 0, LIKE)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_data_that_are_not_finite_are_refused_before_the_first_step(bad):
    x = rows(50)
    x[7, 1] = bad
    for data in (x, x.numpy(), DataLoader(x, batch_size=50)):
        loss = Mean()
        with pytest.raises(DataError, match="row 7"):
            fit(loss, data, steps=1, progress=False)
        assert loss.batches == []


@pytest.mark.parametrize("data", [rows(0), np.zeros((0, 2)), [], DataLoader([], batch_size=2)])
def test_no_rows_are_refused(data):
    with pytest.raises((DataError, ShapeError)):
        fit(Mean(), data, steps=1, progress=False)


@pytest.mark.parametrize("data", [None, "moons", {"x": 1}, two_moons, 3])
def test_what_is_no_data_is_refused_with_a_typed_error(data):
    with pytest.raises((TypeError, DataError)):
        fit(Mean(), data, steps=1, progress=False)
