"""The semi-supervised VAE: exact sums over labels, and a few labels that go a long way."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO
from torch import nn
from torch.testing import assert_close

from pyro_dgm.distributions.likelihoods import Gaussian
from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError
from pyro_dgm.models import LabelGuide, SemiSupervisedVAE
from pyro_dgm.nets import MLP, MLPDecoder, MLPEncoder
from pyro_dgm.objectives import ELBO, Batch
from pyro_dgm.training import fit

PLACES, NOISE = torch.tensor([-1.0, 0.5, 3.0]).double(), 0.5


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, z, y):
        return z + (y @ PLACES).unsqueeze(-1) + self.bias


class ExactEncoder(nn.Module):
    def forward(self, x, y):
        precision = 1 + NOISE**-2
        loc = (x - (y @ PLACES).unsqueeze(-1)) / NOISE**2 / precision
        return loc, torch.full_like(loc, -math.log(precision))


class ExactClassifier(nn.Module):
    def forward(self, x):
        return dist.Normal(PLACES, math.sqrt(1 + NOISE**2)).log_prob(x)


def enumerating():
    return TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)


def exact():
    guide = LabelGuide(ExactClassifier(), ExactEncoder())
    return SemiSupervisedVAE(Decoder(), 1, 3, guide, likelihood=Gaussian(scale=NOISE)).double()


def test_with_exact_guides_the_enumerated_bound_is_the_likelihood_of_the_mixture():
    model, x = exact(), torch.tensor([[0.3], [2.0], [-4.0]]).double()
    mixture = ExactClassifier()(x).logsumexp(-1) - math.log(3)
    objective = ELBO(model, estimator=enumerating())
    assert_close(objective(x), -mixture.mean())


def test_with_labels_it_is_the_joint_likelihood_and_the_classifier_is_scored_in_training_alone():
    model, x = exact(), torch.tensor([[0.3], [2.0]]).double()
    y = torch.eye(3).double()[[2, 0]]
    joint = (ExactClassifier()(x) * y).sum(-1) - math.log(3)
    objective = ELBO(model, estimator=enumerating())
    classified = (model.classify(x) * y).sum(-1).log()
    assert_close(objective(Batch(x, y)), -(joint + classified).mean())
    model.eval()
    assert_close(objective(Batch(x, y)), -joint.mean())


@pytest.mark.parametrize("num_particles", [1, 5])
def test_with_exact_guides_every_bound_is_the_likelihood(num_particles):
    model, x = exact(), torch.tensor([[0.3], [2.0], [-4.0]]).double()
    mixture = ExactClassifier()(x).logsumexp(-1) - math.log(3)
    assert_close(model.log_prob_bound(x, num_particles), mixture)
    y = torch.eye(3).double()[[2, 0, 1]]
    joint = (ExactClassifier()(x) * y).sum(-1) - math.log(3)
    assert_close(model.log_prob_bound(x, num_particles, y), joint)
    assert model.capabilities.has_bound


class OffEncoder(ExactEncoder):
    def forward(self, x, y):
        loc, logvar = super().forward(x, y)
        return loc + 0.5, logvar + 0.5


def test_with_a_guide_that_is_off_the_bound_is_below_the_likelihood_and_above_the_enumerated_one():
    model, x = exact(), torch.tensor([[0.3], [2.0], [-4.0]]).double()
    mixture = ExactClassifier()(x).logsumexp(-1) - math.log(3)
    model.guide.encoder = OffEncoder()
    rows = x.repeat_interleave(4000, 0)
    one, many = (model.log_prob_bound(rows, k).view(3, -1).mean(1) for k in (1, 50))
    enumerated = -ELBO(model, estimator=enumerating()).evaluate_loss(rows)
    assert (one < mixture - 0.05).all()
    assert one.mean() > enumerated - 0.01
    assert (many < mixture + 0.01).all()
    assert (many > one).all()


def test_enumerated_bounds_are_validated_in_training():
    model, x = exact(), torch.tensor([[0.3], [2.0], [-4.0]]).double()
    mixture = ExactClassifier()(x).logsumexp(-1) - math.log(3)
    objective = ELBO(model, estimator=enumerating())
    assert objective.evaluate_loss(x) == pytest.approx(-mixture.mean().item(), rel=1e-6)
    history = fit(objective, x, steps=2, lr=1e-9, validation=x, progress=False)
    assert history.best_loss == pytest.approx(-mixture.mean().item(), rel=1e-6)


LABELS = {
    "numbers": (torch.tensor([2, 0]), ShapeError, "one_hot"),
    "other classes": (torch.eye(4)[[0, 1]], ShapeError, r"\(n, 3\)"),
    "shares": (torch.full((2, 3), 1 / 3), DataError, "a single 1"),
    "two ones": (torch.tensor([[1.0, 1.0, -1.0], [1.0, 0.0, 0.0]]), DataError, "a single 1"),
    "list": ([[0, 1, 0]] * 2, ArgumentTypeError, "list"),
}


@pytest.mark.parametrize(("labels", "error", "match"), LABELS.values(), ids=LABELS.keys())
def test_labels_that_are_not_one_hot_are_refused(labels, error, match):
    model, x = exact(), torch.zeros(2, 1).double()
    for use in (lambda: model(x, labels), lambda: model.log_prob_bound(x, 1, labels)):
        with pytest.raises(error, match=match):
            use()


def test_a_class_is_drawn_from_as_asked_for_and_whole_numbers_are_labels_too():
    model, label = exact(), torch.tensor([0, 0, 1])
    for context in (label, label.expand(4000, 3)):
        x = model.sample(4000, context=context, seed=0)
        assert x.mean().item() == pytest.approx(3.0, abs=0.1)
    with pytest.raises(DataError, match="num_classes"):
        SemiSupervisedVAE(Decoder(), 1, 1, LabelGuide(ExactClassifier(), ExactEncoder()))


def test_a_few_labels_and_many_rows_make_a_classifier():
    labels = torch.randint(0, 2, (600,))
    x = 4.0 * labels[:, None] + torch.randn(600, 2)
    guide = LabelGuide(MLP(2, 2, (16,)), MLPEncoder((2,), 1, (16,), context_dim=2))
    decoder = MLPDecoder(1, (2,), (16,), context_dim=2)
    model = SemiSupervisedVAE(decoder, 1, 2, guide, likelihood=Gaussian(learned=True), label_weight=5.0)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), enumerating())
    known = torch.eye(2)[labels[:8]]
    for _ in range(80):
        svi.step(x[8:])
        svi.step(x[:8], known)
    right = (model.classify(x[8:]).argmax(-1) == labels[8:]).float().mean()
    assert right > 0.95
