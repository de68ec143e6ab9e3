import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pyro_dgm.errors import UnknownNameError
from pyro_dgm.flows import OTFlow
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.objectives import Batch
from pyro_dgm.training import fit
from pyro_dgm.training.half_products import HalfProducts
from pyro_dgm.training.ranks import Ranks, part_of
from pyro_dgm.training.row_noise import RowNoise
from tests.training.families import FAMILIES, flow, gan, numbers, rows, vae
from tests.training.toys import Mean, same

OPTIONS = {"steps": 6, "batch_size": 16, "seed": 3, "progress": False}


def trained(make, data=None, **options):
    objective = make()
    fit(objective, rows() if data is None else data, **OPTIONS | options)
    return numbers(objective)


def close(a, b, atol):
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=atol)


@pytest.mark.parametrize("parts", [2, 3, 99])
@pytest.mark.parametrize("make", [flow, vae])
def test_a_batch_in_parts_gives_the_update_of_the_whole(make, parts):
    sgd = lambda ps: torch.optim.SGD(ps, lr=0.1)  # noqa: E731
    options = {"optimizer": sgd, "row_noise": True, "clip": 1.0}
    close(trained(make, accumulate=parts, **options), trained(make, **options), 1e-13)


def test_a_batch_in_parts_reports_the_loss_of_the_whole():
    whole, parts = (fit(Mean(), rows(), **OPTIONS, accumulate=k) for k in (1, 4))
    assert parts.losses == pytest.approx(whole.losses, rel=1e-12)
    assert parts["grad_norm"] == pytest.approx(whole["grad_norm"], rel=1e-12)


@pytest.mark.parametrize("parts", [1, 2, 3, 5, 8])
def test_each_row_is_in_one_part_and_the_shares_add_up_to_one(parts):
    batch = Batch(torch.arange(5.0), index=torch.arange(5), size=20)
    split = [part_of(batch, number, parts) for number in range(parts)]
    counted = [part for part, share in split if share]
    assert torch.cat([part.x for part in counted]).tolist() == batch.x.tolist()
    assert sum(share for _, share in split) == pytest.approx(1.0)
    assert all(len(part.x) >= 1 and part.size == 20 for part, _ in split)


def test_an_objective_with_its_own_step_is_not_split():
    with pytest.raises(ValueError, match="accumulate=1"):
        fit(gan(), rows(), **OPTIONS, accumulate=2)


def test_row_noise_is_a_function_of_seed_step_and_row():
    noise, many = RowNoise(seed=7), torch.arange(10)

    def drawn(step, index, draw):
        noise.begin(step, index)
        with noise:
            return draw(len(index))

    draws = [
        lambda n: torch.randn(n, 3),
        lambda n: torch.rand(4, n, dtype=torch.double).T,
        lambda n: torch.distributions.Laplace(torch.zeros(n, 2), 1.0).rsample(),
        lambda n: torch.bernoulli(torch.full((n, 2), 0.5)),
        lambda n: F.dropout(torch.ones(n, 3), 0.5),
        lambda n: torch.normal(torch.zeros(n, 2), 2.0),
        lambda n: torch.empty(n, 2).exponential_(),
    ]
    chosen = torch.tensor([7, 2, 5])
    for draw in draws:
        assert torch.equal(drawn(3, many, draw)[chosen], drawn(3, chosen, draw))
        assert not torch.equal(drawn(3, many, draw), drawn(4, many, draw))
    # what belongs to no row is the same for every part
    assert torch.equal(drawn(3, many, lambda n: torch.randn(7)), drawn(3, chosen, lambda n: torch.randn(7)))


def test_row_noise_is_uniform_and_normal_and_uncorrelated():
    noise, n = RowNoise(seed=1), 20_000
    noise.begin(0, torch.arange(n))
    with noise:
        u, z = torch.rand(n, 2, dtype=torch.double), torch.randn(n, 2, dtype=torch.double)
    bar = 4 / math.sqrt(n)
    for sample, cdf in ((u, u), (z, torch.special.ndtr(z))):
        flat = cdf.flatten().sort().values
        grid = (torch.arange(2 * n) + 0.5).double() / (2 * n)
        assert (flat - grid).abs().max() < 1.63 / math.sqrt(2 * n)  # Kolmogorov and Smirnov, 1 percent
        a, b = sample.T
        pairs = [(a, b), (a[1:], a[:-1]), (a[n // 2 :], a[: n // 2])]
        assert all(abs(float(torch.corrcoef(torch.stack(pair))[0, 1])) < bar for pair in pairs)


def test_what_has_no_rows_is_drawn_alike_for_all_parts_of_a_batch():
    noise, drawn = RowNoise(3), []
    for part in (torch.arange(4), torch.arange(4, 9)):
        noise.begin(0, part)
        with noise:
            drawn.append((torch.randn(()), torch.rand(3), torch.normal(torch.zeros(()), torch.ones(()))))
    for one, two in zip(*drawn, strict=True):
        assert torch.equal(one, two)


def test_what_cannot_be_drawn_by_rows_is_refused():
    noise = RowNoise(seed=1)
    with pytest.raises(NotImplementedError, match="row_noise=False"), noise:
        torch.distributions.Gamma(torch.ones(3), 1.0).rsample()


def test_row_noise_needs_rows_with_numbers():
    with pytest.raises(ValueError, match="rows have numbers"):
        fit(flow(), torch.utils.data.DataLoader(rows(), batch_size=8), **OPTIONS, row_noise=True)


def test_half_precision_reaches_the_networks_and_nothing_else():
    layer, x = nn.Linear(8, 4), torch.randn(5, 8)
    with HalfProducts(torch.bfloat16):
        ours, sums = layer(x), torch.logsumexp(x, -1)
    expected = F.linear(x.bfloat16(), layer.weight.bfloat16(), layer.bias.bfloat16()).float()
    assert torch.equal(ours, expected)
    assert torch.equal(sums, torch.logsumexp(x, -1))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("more", [{}, {"row_noise": True}, {"schedule": "cosine"}])
def test_half_precision_trains_near_full_precision(family, more):
    make = lambda: FAMILIES[family](dtype=torch.float32)  # noqa: E731
    full, half = (trained(make, rows().float(), precision=p, **more) for p in ("full", "bf16"))
    assert not same(full, half)
    close(full, half, 0.05)


def test_half_precision_is_refused_for_continuous_flows():
    with pytest.raises(ValueError, match="OTFlow solves an ordinary differential equation"):
        fit(NormalizingFlow(OTFlow(2)), rows().float(), **OPTIONS, precision="bf16")
    with pytest.raises(UnknownNameError, match="did you mean 'bf16'"):
        fit(flow(), rows(), **OPTIONS, precision="fp16")


def test_compiled_networks_train_to_the_same_weights_and_are_given_back():
    seen = []

    def watch(state):
        seen.append(state.objective.model.decoder._compiled_call_impl is not None)

    objective = vae()
    fit(objective, rows(), **OPTIONS, compile="eager", callbacks=[watch])
    close(numbers(objective), trained(vae), 1e-12)
    assert all(seen)
    assert objective.model.decoder._compiled_call_impl is None


@pytest.mark.parametrize("family", FAMILIES)
def test_device_auto_and_cpu_train_alike_here(family):
    if torch.accelerator.is_available():
        pytest.fail("this test compares devices of a machine without an accelerator")
    results = [trained(FAMILIES[family], device=d) for d in (None, "auto", "cpu", torch.device("cpu"))]
    assert all(same(results[0], other) for other in results[1:])


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="device='auto'"):
        fit(flow(), rows(), **OPTIONS, device="nowhere")


def test_validation_chooses_among_the_averages_where_they_are_kept():
    seen, held_out = [], rows(20)
    loss = Mean()
    history = fit(
        loss,
        rows(),
        **OPTIONS | {"steps": 10},
        average=0.9,
        validation=held_out,
        validate_every=1,
        callbacks=[lambda state: seen.append(loss.point.detach().clone())],
    )
    # the average of the points after each step, with the ramp of its decay
    mean, means = torch.zeros(2).double(), []
    for t, point in enumerate(seen):
        decay = min(0.9, (1 + t) / (10 + t))
        mean = decay * mean + (1 - decay) * point
        means.append(0.5 * (held_out - mean).square().sum(-1).mean().item())
    assert history["validation_loss"] == pytest.approx(means, rel=1e-12)
    assert torch.allclose(loss.point.detach(), mean, rtol=1e-12)


def test_alone_there_is_nothing_to_agree_on():
    ranks = Ranks()
    assert (ranks.many, ranks.first, ranks.agree("done"), ranks.gather(3)) == (False, True, "done", [3])
    assert ranks.wrap(loss := Mean()) is loss
