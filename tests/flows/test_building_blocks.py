"""Layers that users compose into flows of their own: normalisation, permutations, linear maps."""

import copy
import pickle

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import ActNorm, BatchNorm, Composition, LULinear, NeuralSpline, Permutation, RealNVP
from pyro_dgm.transforms import Composed

X = 5 + 3 * torch.randn(200, 3, generator=torch.Generator().manual_seed(1), dtype=torch.double)
IMAGES = X.T.reshape(25, 3, 4, 2) * torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1) + 7


def used(layer):
    layer = layer.double()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return layer.eval()


LAYERS = {"act-norm": ActNorm, "batch-norm": BatchNorm, "lu": lambda c, **k: LULinear(c, shift=True, **k)}
LAYERS["permutation"] = lambda c, **k: Permutation(c, [2, 0, 1], **k)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
def test_layer_undoes_itself_and_its_log_det_is_that_of_the_jacobian(make, rank):
    t = used(make(3, rank=rank))()
    x = torch.randn(4, 3, *(2, 2)[: rank - 1], dtype=torch.double)
    y, ladj = t.call_and_ladj(x)
    back, inverse = t.inverse_and_ladj(y)
    jacobian = torch.autograd.functional.jacobian(t, x[0]).reshape(x[0].numel(), -1)
    assert_close(back, x)
    assert_close(inverse, -ladj)
    assert_close(ladj[0], torch.linalg.slogdet(jacobian).logabsdet)
    assert ladj.shape == (4,)
    assert t.domain.event_dim == t.codomain.event_dim == rank


@pytest.mark.parametrize("value", [X, IMAGES], ids=["vectors", "images"])
@pytest.mark.parametrize("direction", ["inverse_and_ladj", "call_and_ladj"])
def test_first_batch_leaves_act_norm_with_mean_zero_and_variance_one(value, direction):
    layer = ActNorm(3, rank=value.dim() - 1).double()
    out = getattr(layer(), direction)(value)[0].movedim(1, -1).reshape(-1, 3)
    assert_close(out.mean(0), torch.zeros(3).double(), atol=1e-10, rtol=0)
    assert_close(out.var(0, unbiased=False), torch.ones(3).double())
    before = [p.clone() for p in layer.parameters()]
    getattr(layer(), direction)(2 * value)
    assert all(torch.equal(p, q) for p, q in zip(before, layer.parameters(), strict=True))


def test_act_norm_waits_for_a_training_batch_of_two_finite_rows():
    layer = ActNorm(3).double()
    layer.eval()().inverse_and_ladj(X)
    layer.train()
    with torch.no_grad():
        layer()(X)
    layer().inverse_and_ladj(X[:1])
    layer().inverse_and_ladj(X[:0])
    assert not layer.initialised
    bad = X.clone()
    bad[0, 1] = torch.nan
    layer().inverse_and_ladj(bad)
    assert layer.initialised
    assert_close(layer.shift.detach(), X[1:].mean(0))


def test_act_norm_keeps_scale_one_for_a_constant_channel():
    layer = ActNorm(3).double()
    x = torch.cat((X[:, :2], torch.full((200, 1), 4.0).double()), -1)
    assert_close(layer().inverse_and_ladj(x)[0][:, 2], torch.zeros(200).double())
    assert layer.log_scale[2] == 0


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda m: pickle.loads(pickle.dumps(m))}
COPIES["state_dict"] = lambda m: (new := ActNorm(3).double(), new.load_state_dict(m.state_dict()))[0]


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
def test_copies_of_act_norm_know_whether_the_first_batch_has_passed(copied):
    layer = ActNorm(3).double()
    copied(layer)().inverse_and_ladj(X)
    assert not layer.initialised
    layer().inverse_and_ladj(X)
    twin = copied(layer)
    twin().inverse_and_ladj(10 * X)
    assert_close(twin.shift, layer.shift)


def test_processes_together_initialise_act_norm_as_one_would(monkeypatch):
    # Each process sees its half; the sums over processes are those of both halves.
    halves, sums = X.chunk(2), []

    def all_reduce(value):
        count = len(halves[1])
        mean = X.mean(0)
        other = torch.cat((torch.tensor([float(count)]).double(), halves[1].sum(0)))
        value += other if value.numel() == 4 else (halves[1] - mean).square().sum(0)
        sums.append(value)

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    layer = ActNorm(3).double()
    layer().inverse_and_ladj(halves[0])
    assert_close(layer.shift.detach(), X.mean(0))
    assert_close(layer.log_scale.detach().exp(), X.std(0, unbiased=False))


def test_batch_norm_normalises_the_batch_and_counts_its_log_det():
    layer = BatchNorm(3, epsilon=1e-5).double()
    u, ladj = layer().inverse_and_ladj(X)
    variance = X.var(0, unbiased=False)
    assert_close(u, (X - X.mean(0)) / (variance + 1e-5).sqrt())
    assert_close(ladj, (-0.5 * (variance + 1e-5).log().sum()).expand(200))
    assert_close(layer.mean, 0.1 * X.mean(0))
    assert_close(layer.variance, 0.9 + 0.1 * variance)


def test_batch_norm_passes_gradients_through_the_statistics():
    layer, x = BatchNorm(3).double(), X[:5].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer().inverse_and_ladj(x), x)


def test_statistics_of_the_full_data_make_the_outputs_of_every_batch_norm_standard():
    flow = Composition(3, [BatchNorm(3), RealNVP(3, hidden_dims=(8,)), BatchNorm(3)]).double()
    with torch.no_grad():
        for p in flow.parts[1].parameters():
            p.add_(0.3 * torch.randn_like(p))
    flow.set_statistics(X, rows_at_once=64)
    assert flow.training
    latent = flow.eval().transform().inv(X)
    assert_close(latent.mean(0), torch.zeros(3).double(), atol=1e-9, rtol=0)
    assert_close(latent.var(0, unbiased=False), torch.ones(3).double(), atol=1e-4, rtol=0)


def test_statistics_of_nothing_or_of_nan_are_refused():
    for value in (X[:0], X * torch.nan):
        with pytest.raises(DataError, match="statistics"):
            BatchNorm(3).double().set_statistics(value)


def test_permutation_takes_any_order_and_refuses_what_is_none():
    x = torch.tensor([1.0, 2.0, 3.0])
    assert_close(Permutation(3, [1, 2, 0])()(x), torch.tensor([2.0, 3.0, 1.0]))
    assert sorted(Permutation(3, "random")()(x).tolist()) == [1, 2, 3]
    for order in ([0, 1], [0, 0, 1], "revers"):
        with pytest.raises(DataError, match="order"):
            Permutation(3, order)


def test_lu_matrix_starts_as_a_rotation():
    matrix = LULinear(5).double()().matrix()
    assert_close(matrix @ matrix.T, torch.eye(5).double(), atol=1e-6, rtol=0)


def test_composition_is_the_parts_after_one_another():
    parts = [RealNVP(3, context_dim=2, hidden_dims=(8,)), LULinear(3), NeuralSpline(3, num_layers=2)]
    flow = used(Composition(3, parts, context_dim=2))
    context = torch.randn(4, 2).double()
    by_hand = Composed([parts[0].transform(context), parts[1](), parts[2].transform()])
    x = torch.randn(4, 3).double()
    assert_close(flow.transform(context)(x), by_hand(x))


def test_composition_refuses_parts_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"part 1 .* latents of shape \(3,\)"):
        Composition(3, [ActNorm(3), RealNVP(2)])
    with pytest.raises(ShapeError, match="context_dim=0"):
        Composition(3, [RealNVP(3, context_dim=2)])
    with pytest.raises(DataError, match="no module"):
        Composition(3, [lambda context: None])
    with pytest.raises(DataError, match="at least one part"):
        Composition(3, [])


def test_svi_trains_every_part_of_a_composition():
    flow = Composition(3, [RealNVP(3, hidden_dims=(8,)), LULinear(3), ActNorm(3)]).double()

    def model():
        with pyro.plate("data", len(X)):
            pyro.sample("x", flow(), obs=X)

    svi = SVI(model, lambda: None, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    first = svi.step()
    before = [p.clone() for p in flow.parameters()]
    losses = [svi.step() for _ in range(20)]
    assert losses[-1] < first
    changed = [not torch.equal(a, b) for a, b in zip(before, flow.parameters(), strict=True)]
    assert sum(changed) >= len(changed) - 1  # the first half of a coupling's net may get no gradient yet
