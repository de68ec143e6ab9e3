import json
import math
import random

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import transforms as T
from torch import nn

from pyro_dgm.diagnostics import StepCountWarning, audit, with_settled_steps
from pyro_dgm.distributions import FlowDistribution, StandardNormal
from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import CNF, Flow, OTFlow, RealNVP
from pyro_dgm.models import VAE, NormalizingFlow
from pyro_dgm.nets import MLP
from pyro_dgm.transforms import Bijection, Composed

NORMAL = dist.MultivariateNormal(torch.zeros(2), torch.eye(2))


class LectureCoupling(Bijection):
    """The masked coupling of the lecture; its log-determinant is a choice between right and two wrongs."""

    def __init__(self, net, mask, ladj):
        super().__init__()
        self.net, self.mask, self.ladj = net, mask, ladj

    def call_and_ladj(self, x):
        s, t = self._parts(x)
        return self.mask * x + (1 - self.mask) * (x * s.exp() + t), self._sum(s)

    def inverse_and_ladj(self, y):
        s, t = self._parts(y)
        ladj = self._sum(s)
        return self.mask * y + (1 - self.mask) * (y - t) * (
            -s
        ).exp(), ladj if self.ladj == "flipped" else -ladj

    def _parts(self, value):
        s, t = self.net(self.mask * value).chunk(2, dim=-1)
        return torch.tanh(s), torch.tanh(t)

    def _sum(self, s):
        return (s if self.ladj == "both coordinates" else (1 - self.mask) * s).sum(-1)


class LectureFlow(Flow):
    """Six couplings whose scale network says -1 for the coordinate that is not scaled, as after training."""

    def __init__(self, ladj="changed coordinate"):
        super().__init__(2)
        self.ladj = ladj
        self.nets = nn.ModuleList(MLP(2, 4, (8,)) for _ in range(6))
        self.register_buffer("masks", torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(3, 1))
        with torch.no_grad():
            for net, mask in zip(self.nets, self.masks, strict=True):
                net.layers[-1].bias[:2] -= 20 * mask

    def transform(self, context=None):
        pairs = zip(self.nets, self.masks, strict=True)
        return Composed([LectureCoupling(net, mask, self.ladj) for net, mask in pairs])


class SteppedFlow(Flow):
    """RK4 over a field with its exact trace: with few steps, not the log-det of what the steps do."""

    def __init__(self, nt_eval):
        super().__init__(2)
        self.nt_eval = nt_eval

    def transform(self, context=None):
        return Stepped(self.nt_eval)


class Stepped(Bijection):
    def __init__(self, num_steps):
        super().__init__()
        self.num_steps = num_steps

    def call_and_ladj(self, x):
        return self._solve(x, 1.0 / self.num_steps)

    def inverse_and_ladj(self, y):
        return self._solve(y, -1.0 / self.num_steps)

    def _solve(self, y, h):
        ladj = y.new_zeros(y.shape[:-1])
        for _ in range(self.num_steps):
            k1, r1 = self._field(y)
            k2, r2 = self._field(y + h / 2 * k1)
            k3, r3 = self._field(y + h / 2 * k2)
            k4, r4 = self._field(y + h * k3)
            y, ladj = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), ladj + h / 6 * (r1 + 2 * r2 + 2 * r3 + r4)
        return y, ladj

    def _field(self, y):
        u = torch.tanh(2 * y)  # v = 1.5 (tanh 2y_1 - y_2, y_1), of trace 3 (1 - tanh^2 2y_1)
        v = 1.5 * torch.stack((u[..., 0] - y[..., 1], y[..., 0]), -1)
        return v, 3 * (1 - u[..., 0].square())


def failed(report):
    return {check.key for check in report.failures}


def test_correct_flow_passes():
    report = audit(LectureFlow(), data=NORMAL)
    assert report.passed, str(report)
    assert "This flow is a density" in str(report)
    assert report.log_det < 1e-5
    assert abs(report.mass - 1) < 1e-3


def test_log_det_summed_over_both_coordinates_fails_by_six_nats_and_a_mass_of_e6():
    report = audit(LectureFlow("both coordinates"), data=NORMAL)
    assert {"log_det", "mass", "J_ML"} <= failed(report)
    assert report.log_det == pytest.approx(6, abs=1e-4)
    assert report.mass == pytest.approx(math.exp(6), rel=1e-3)
    assert report.kl < -3
    assert "off by 6.00 nats" in report.sentence
    assert "mass is 403.4" in report.sentence
    assert "below the entropy" in report.sentence


def test_flipped_sign_of_the_inverse_log_det_fails():
    report = audit(LectureFlow("flipped"))
    assert {"log_det_sum", "density", "mass"} <= failed(report)


def test_coarse_integration_fails_and_fine_integration_passes():
    coarse, fine = audit(SteppedFlow(1)), audit(SteppedFlow(8))
    assert {"log_det", "mass", "steps"} <= failed(coarse)
    assert "takes too few" in coarse.sentence
    assert fine.passed, str(fine)


def test_continuous_flow_is_audited_at_the_steps_of_its_evaluation():
    flow = OTFlow(2, width=4, rank=1, nt_train=1, nt_eval=16)
    with torch.no_grad():  # a fresh flow is so close to the identity that any step count does
        for p in flow.parameters():
            p.add_(0.3 * torch.randn_like(p))
    report = audit(flow)
    assert flow.training
    assert report.passed, str(report)
    assert [check.key for check in report.checks if check.key.startswith("nt_")] == [
        "nt_16",
        "nt_32",
        "nt_64",
    ]
    flow.nt_eval = 1
    assert audit(flow)["log_det"].figure > 100 * report["log_det"].figure


def test_half_a_density_has_mass_one_half_and_fails():
    class Half(dist.MultivariateNormal):
        def log_prob(self, value):
            return super().log_prob(value) - math.log(2)

    report = audit(Half(torch.zeros(2), torch.eye(2)))
    assert report.mass == pytest.approx(0.5, abs=1e-4)
    assert failed(report) == {"mass"}


def test_samples_from_another_distribution_fail():
    class Wide(dist.MultivariateNormal):
        def sample(self, sample_shape=()):
            return 1.2 * super().sample(sample_shape)

    assert failed(audit(Wide(torch.zeros(2), torch.eye(2)))) == {"samples"}


def test_figures_of_an_affine_flow_are_the_closed_forms():
    flow = dist.TransformedDistribution(
        StandardNormal(torch.zeros(2)), [T.AffineTransform(1.0, 2.0, event_dim=1)]
    )
    report = audit(flow, data=NORMAL)
    closed = 2 * math.log(2) + (1 + 1) / 4 - 1  # KL(N(0, I), N(1, 4 I))
    assert abs(report.kl - closed) < 3 * report["KL"].error
    assert report.passed
    # What the flow claims itself is 2 log 2 everywhere: so is autograd's, and the gap is rounding.
    assert report.log_det < 1e-6


def test_scalar_events_and_members_of_a_batch_are_audited_each():
    report = audit(dist.LogNormal(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.5])))
    assert report.passed, str(report)
    assert "2 batch members" in report.subject


def test_conditional_flow_is_audited_at_its_context_rows():
    flow = RealNVP(2, 3, num_layers=2, hidden_dims=(8,))
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.3 * torch.randn_like(p))
    context = torch.randn(50, 3)
    report = audit(flow, flow(context).sample(), context=context)
    assert report.passed, str(report)
    assert "4 context rows" in report.subject
    assert math.isfinite(report.J_ML)


def test_log_det_that_is_wrong_for_one_context_alone_fails():
    class WrongAbove(RealNVP):
        def forward(self, context=None):
            flow = super().forward(context)
            wrong = dist.TransformedDistribution(
                flow.base_dist, [Shifted(flow.transform, context[..., 0] > 0)]
            )
            return wrong

    class Shifted(Bijection):
        def __init__(self, inner, wrong):
            super().__init__()
            self.inner, self.wrong = inner, wrong

        def call_and_ladj(self, x):
            y, ladj = self.inner.call_and_ladj(x)
            return y, ladj + self.wrong.to(ladj)

        def inverse_and_ladj(self, y):
            x, ladj = self.inner.inverse_and_ladj(y)
            return x, ladj - self.wrong.to(ladj)

    flow = WrongAbove(2, 1, num_layers=2, hidden_dims=(8,))
    assert audit(flow, context=torch.tensor([[-1.0], [-2.0]])).passed
    report = audit(flow, context=torch.tensor([[-1.0], [1.0]]))
    assert report.log_det == pytest.approx(1)
    assert "context row 1" in report.sentence


def test_mass_in_five_dimensions_lies_within_three_standard_errors_of_one():
    flow = RealNVP(5, num_layers=4, hidden_dims=(16,))
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1 * torch.randn_like(p))
    report = audit(flow)
    assert report.passed, str(report)
    assert abs(report.mass - 1) < 3 * report["mass"].error < 0.1


def test_mass_that_importance_sampling_cannot_tell_is_not_called_passed():
    modes = 100 * torch.eye(6)[:3]
    far_apart = dist.MixtureSameFamily(
        dist.Categorical(torch.ones(3)), dist.MultivariateNormal(modes, 0.01 * torch.eye(6))
    )
    report = audit(far_apart)
    assert report["mass"].verdict == "not decided"
    assert not report.passed
    assert not report.failures
    assert "not proved" in report.sentence


def test_weights_that_are_nan_fail_without_an_exception():
    flow = RealNVP(2, num_layers=2, hidden_dims=(8,))
    with torch.no_grad():
        flow.conditioners[0].layers[0].bias[0] = torch.nan
    report = audit(flow)
    assert {"round_trip_latent", "log_det", "mass"} <= failed(report)
    assert "not finite" in report.sentence


def test_flow_that_cannot_be_inverted_fails_with_the_reason():
    planar = dist.TransformedDistribution(StandardNormal(torch.zeros(2)), [T.Planar(2)])
    assert "KeyError" in audit(planar).sentence


def test_infinite_log_prob_of_the_data_fails():
    report = audit(dist.Uniform(torch.zeros(1), torch.ones(1)).to_event(1), data=torch.tensor([[0.5], [2.0]]))
    assert "1 of 2 rows" in report["J_ML"].finding
    assert "J_ML" in failed(report)


def test_flow_its_mode_and_every_random_state_are_left_alone():
    flow = LectureFlow().train()
    flow.nets[0].eval()
    before = {name: value.clone() for name, value in flow.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    audit(NormalizingFlow(flow), data=NORMAL)
    assert flow.training
    assert flow.nets[1].training
    assert not flow.nets[0].training
    assert all(torch.equal(value, before[name]) for name, value in flow.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert random.getstate() == states[2]


def test_same_seed_gives_the_same_report():
    flow = LectureFlow()
    assert str(audit(flow, seed=3)) == str(audit(flow, seed=3)) != str(audit(flow, seed=4))


def test_report_can_be_printed_shown_and_written_as_json():
    report = audit(LectureFlow("both coordinates"), data=NORMAL)
    lines = str(report).splitlines()
    assert lines[0].startswith("Audit of LectureFlow: events 2, float32")
    assert lines[1].split()[:4] == ["check", "figure", "limit", "verdict"]
    assert (
        len({line.index(check.verdict) for line, check in zip(lines[2:], report.checks, strict=False)}) == 1
    )
    assert max(map(len, lines[1:-1])) < 160
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["passed"] is False
    assert report._repr_html_().count("<tr>") == len(report.checks) + 1


def test_known_entropy_can_be_given_with_rows():
    report = audit(LectureFlow(), data=torch.randn(500, 2).numpy(), entropy=math.log(2 * math.pi * math.e))
    assert report["J_ML"].verdict == "pass"
    assert math.isnan(audit(LectureFlow(), data=torch.randn(50, 2)).kl)


def test_model_without_a_density_says_what_to_use_instead():
    with pytest.raises(NotImplementedError, match="log_prob_bound"):
        audit(VAE(nn.Linear(2, 4), 2))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"data": torch.tensor([[0.0, torch.nan]])}, DataError, "1 of 1 rows"),
        ({"data": torch.zeros(0, 2)}, DataError, "0 of 0"),
        ({"context": torch.zeros(3)}, ShapeError, "context_dim=0"),
    ],
)
def test_unusable_arguments_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        audit(LectureFlow(), **arguments)


def test_what_is_no_distribution_is_refused():
    with pytest.raises(TypeError, match="Linear gave Tensor"):
        audit(nn.Linear(2, 2), context=torch.zeros(2))
    with pytest.raises(ShapeError, match="batch shape is"):
        audit(FlowDistribution(StandardNormal(torch.zeros(2), (100,)), LectureFlow().transform()))


def used_cnf(**options):
    flow = CNF(2, hidden_dims=(8, 8), **options)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.8 * torch.randn_like(p))
    return flow


def test_audit_finds_the_steps_from_which_doubling_changes_nothing():
    flow, x = used_cnf(nt_train=16), torch.randn(500, 2)
    nt = int(audit(flow, x)["converged_steps"].figure)
    flow.eval()

    def j_ml(nt):
        flow.nt_eval = nt
        return -flow().log_prob(x).mean()

    assert nt > 1
    assert abs(j_ml(2 * nt) - j_ml(nt)) < 1e-3
    assert abs(j_ml(nt) - j_ml(nt // 2)) > 1e-3


def test_likelihood_of_data_is_reported_at_converged_steps():
    flow, x = used_cnf(nt_train=1, nt_eval=1), torch.randn(500, 2)
    with pytest.warns(StepCountWarning, match="nt = 1"):
        report = audit(flow, x)
    assert "steps" in failed(report)
    assert report["converged_steps"].figure > 1
    assert abs(report["nt_1"].figure - report.J_ML) > 1e-2
    flow.nt_eval = 64
    assert pytest.approx(-flow.eval()().log_prob(x).mean().item(), abs=2e-3) == report.J_ML
    assert report["training_steps"].figure == pytest.approx(report["nt_1"].figure - report.J_ML, abs=1e-3)


def test_a_flow_with_too_few_steps_is_scored_by_a_copy_with_enough():
    flow, x = used_cnf(nt_train=1, nt_eval=1), torch.randn(200, 2)
    settled = with_settled_steps(NormalizingFlow(flow), x)
    with pytest.warns(StepCountWarning):
        assert settled.flow.nt_eval == audit(flow, x)["converged_steps"].figure > flow.nt_eval == 1
    assert with_settled_steps(settled, x) is settled
    assert with_settled_steps(model := RealNVP(2), x) is model
    flow.solver = "dopri5"
    assert with_settled_steps(flow, x) is flow


def test_no_steps_are_searched_for_an_adaptive_solve():
    report = audit(used_cnf(solver="dopri5", tolerance=1e-6))
    assert report.passed, str(report)
    assert "converged_steps" not in [check.key for check in report.checks]
