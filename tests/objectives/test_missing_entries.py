"""Training on rows with missing entries: the loss is about the density of what is observed, and no more."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader

from pyro_dgm.data import MaskedRows
from pyro_dgm.distributions.likelihoods import Bernoulli, Gaussian
from pyro_dgm.errors import ArgumentTypeError, CheckpointError, DataError, ShapeError
from pyro_dgm.flows import CNF, RealNVP
from pyro_dgm.guides import AmortizedGuide, AmortizedNormal
from pyro_dgm.models import VAE, ImplicitGenerator, NormalizingFlow, impute
from pyro_dgm.nets import MLPCritic, MLPDecoder, MLPEncoder
from pyro_dgm.objectives import ELBO, IWAE, Adversarial, Batch, FlowMatching
from pyro_dgm.plates import data_plate
from pyro_dgm.training import fit
from pyro_dgm.training.ranks import part_of

LOADINGS, NOISE = torch.tensor([[1.0], [-2.0], [0.5]]).double(), 0.5
NAN = float("nan")


class Exact(AmortizedGuide):
    """The posterior of a linear model given what is observed, which is what is not zero."""

    def posterior(self, x, context=None):
        seen = (x != 0).double()
        precision = 1 + seen @ LOADINGS.square() / NOISE**2
        return dist.Normal(x @ LOADINGS / NOISE**2 / precision, precision.rsqrt()).to_event(1)


class Linear(nn.Module):
    def forward(self, z):
        return z @ LOADINGS.T


def linear_vae():
    return VAE(Linear(), 1, likelihood=Gaussian(scale=NOISE), guide=Exact(nn.Identity())).double()


class Traced(VAE):
    """The same model by way of Pyro's handlers."""

    def forward(self, x=None, context=None, **options):
        return super().forward(x, context, **options)


def pieces(n=12):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0)).double()
    mask = torch.rand(n, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[:, 0] |= ~mask.any(1)
    return x, mask


def exact(x, mask):
    covariance = LOADINGS @ LOADINGS.T + NOISE**2 * torch.eye(3).double()
    parts = []
    for row, seen in zip(x, mask, strict=True):
        parts.append(
            dist.MultivariateNormal(
                torch.zeros(int(seen.sum())).double(), covariance[seen][:, seen]
            ).log_prob(row[seen])
        )
    return torch.stack(parts).mean()


OBJECTIVES = {
    "sampled": ELBO,
    "particles": lambda vae: ELBO(vae, num_particles=3),
    "IWAE": lambda vae: IWAE(vae, num_particles=3),
    "sticking": lambda vae: IWAE(vae, num_particles=3, gradient="stl"),
}


@pytest.mark.parametrize("kind", [VAE, Traced])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_with_the_exact_posterior_each_bound_is_the_density_of_the_observed(name, kind):
    vae, (x, mask) = linear_vae(), pieces()
    vae.__class__ = kind
    batch = Batch(x.where(mask, torch.tensor(7.0).double()), mask=mask)
    assert_close(OBJECTIVES[name](vae)(batch), -exact(x, mask), rtol=1e-10, atol=0)


def test_the_closed_form_of_the_divergence_takes_the_mask_too():
    vae, (x, mask) = linear_vae(), pieces()
    objective = ELBO(vae, kl="analytic")
    values = torch.stack([objective(Batch(x, mask=mask)) for _ in range(2000)])
    assert abs(values.mean() + exact(x, mask)) < 4 * values.std() / len(values) ** 0.5


def bits(n=64):
    x = torch.bernoulli(torch.full((n, 4), 0.5))
    return x, torch.rand(n, 4) < 0.7


def perceptron():
    torch.manual_seed(0)
    guide = AmortizedNormal(MLPEncoder((4,), 2, (8,)))
    return VAE(MLPDecoder(2, (4,), (8,)), 2, likelihood=Bernoulli(event_dim=1), guide=guide)


def trained(data, **options):
    vae = perceptron()
    options = {"steps": 6, "batch_size": 16, "seed": 2, "progress": False, **options}
    history = fit(vae, data, **options)
    return list(vae.parameters()), history


def test_what_stands_in_missing_entries_has_no_effect_on_training():
    x, mask = bits()
    runs = [trained(MaskedRows(x.where(mask, torch.tensor(value)), mask))[0] for value in (0.0, 1.0, NAN)]
    assert_close(runs[0], runs[1], rtol=0, atol=0)
    assert_close(runs[0], runs[2], rtol=0, atol=0)
    assert_close(trained(MaskedRows(x.where(mask, torch.tensor(NAN))))[0], runs[0], rtol=0, atol=0)


def test_a_loader_may_give_batches_with_masks_and_anything_below_them():
    x, mask = bits()

    def batches(value):
        given = [Batch(x.where(mask, torch.tensor(value)), mask=mask)]
        return DataLoader(given, batch_size=None)

    runs = [trained(batches(value))[0] for value in (0.0, NAN)]
    assert_close(runs[0], runs[1], rtol=0, atol=0)
    assert all(p.isfinite().all() for p in runs[0])


def test_a_mask_that_hides_nothing_is_no_mask():
    x, _ = bits()
    assert_close(trained(MaskedRows(x))[0], trained(x)[0])


def test_parts_of_a_batch_keep_their_masks():
    x, mask = bits()
    whole, halves = (trained(MaskedRows(x, mask), accumulate=k, row_noise=True)[0] for k in (1, 2))
    assert_close(whole, halves)
    parts = [part_of(Batch(x, mask=mask), k, 3)[0].mask for k in range(3)]
    assert torch.equal(torch.cat(parts), mask)


def test_held_out_rows_may_have_missing_entries_too_and_a_resumed_run_is_the_same(tmp_path):
    data, held_out = MaskedRows(*bits()), MaskedRows(*bits(20))

    def interrupt(state):
        if state.step == 3:
            raise KeyboardInterrupt

    whole, history = trained(data, validation=held_out)
    trained(data, validation=held_out, checkpoint=tmp_path, callbacks=[interrupt])
    resumed, _ = trained(data, validation=held_out, checkpoint=tmp_path, resume=True)
    assert_close(resumed, whole, rtol=0, atol=0)
    assert np.isfinite(history["validation_loss"]).sum() == 6
    with pytest.raises(CheckpointError, match="data"):
        trained(MaskedRows(data.x), validation=held_out, checkpoint=tmp_path, resume=True)


def test_fit_learns_a_dependence_that_no_complete_row_shows():
    generator = torch.Generator().manual_seed(0)
    x = torch.bernoulli(torch.full((512, 1), 0.5), generator=generator).expand(512, 4)
    hidden = torch.randint(4, (512,), generator=generator)
    rows = MaskedRows(x.where(torch.arange(4) != hidden[:, None], torch.tensor(NAN)))
    vae = perceptron()
    fit(vae, rows, steps=600, batch_size=64, lr=1e-2, seed=0, progress=False)
    drawn = impute(vae, rows.x, rows.mask, num_draws=20, seed=0)
    assert (drawn == x).float().mean(0)[~rows.mask].mean() > 0.9  # the four entries are one bit


class Own(nn.Module):
    """A model of one's own that leaves out what is missing."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(2))

    def forward(self, x, size=None, index=None, mask=None):
        with data_plate(len(x), size, index):
            pyro.sample(
                "x", dist.Normal(self.loc, 1.0).mask(True if mask is None else mask).to_event(1), obs=x
            )


def test_a_model_of_ones_own_gets_the_mask():
    from pyro_dgm.guides import Empty

    model = Own()
    x = torch.tensor([[1.0, NAN], [3.0, 5.0]])
    fit((model, Empty()), MaskedRows(x), steps=400, lr=0.1, schedule="cosine", progress=False)
    assert_close(model.loc.tolist(), [2.0, 5.0], atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("objective", "match"),
    [
        (lambda: ELBO(NormalizingFlow(RealNVP(2))), "takes no mask="),
        (lambda: FlowMatching(CNF(2)), "FlowMatching compares whole rows"),
        (
            lambda: Adversarial(ImplicitGenerator(nn.Linear(2, 2), 2), MLPCritic((2,), (4,))),
            "Adversarial compares whole rows",
        ),
    ],
    ids=["flow", "matching", "game"],
)
def test_what_cannot_leave_out_entries_says_so_before_a_step(objective, match):
    made = objective()
    with pytest.raises(ArgumentTypeError, match=match):
        fit(made, MaskedRows([[1.0, NAN], [0.0, 1.0]]), steps=1, progress=False)


def test_rows_say_what_is_missing_and_refuse_what_is_not_right():
    rows = MaskedRows(np.ma.masked_array([[1, 2], [3, 4]], [[0, 1], [0, 0]]))
    assert rows.mask.tolist() == [[True, False], [True, True]]
    assert rows.x.tolist() == [[1.0, 0.0], [3.0, 4.0]]
    assert len(rows) == 2
    with pytest.raises(DataError, match="none of the 2 entries is observed"):
        MaskedRows([[NAN, NAN]])
    with pytest.raises(DataError, match="row 0"):
        MaskedRows([[float("inf"), NAN]])
    with pytest.raises(DataError, match="row 0"):
        MaskedRows([[NAN, 1.0]], torch.tensor([[True, True]]))
    with pytest.raises(ArgumentTypeError, match=r"mask\.bool"):
        MaskedRows([[1.0, 2.0]], [[1, 0]])
    with pytest.raises(ShapeError, match="expand_as"):
        MaskedRows([[1.0, 2.0]], [[True]])
    with pytest.raises(ShapeError, match="1 rows, and 2 contexts"):
        MaskedRows([[1.0, 2.0]], context=torch.zeros(2, 1))
