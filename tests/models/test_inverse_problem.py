"""Inverse problems with a linear-Gaussian generator have a normal posterior in closed form."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import RealNVP, Whitened
from pyro_dgm.guides import AutoFlow
from pyro_dgm.inference import importance_draws, map_estimate
from pyro_dgm.models import VAE, ImplicitGenerator, InverseProblem, NormalizingFlow

W = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.2, -1.0]])
BIAS = torch.tensor([0.1, -0.2, 0.3])
A = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.5, -1.0]])
SD = 0.4


def linear(weight, bias):
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
    return layer


def normal_likelihood(loc):
    return dist.Normal(loc, 0.1).to_event(1)


GENERATORS = {
    "gan": lambda: ImplicitGenerator(linear(W, BIAS), 2),
    "vae": lambda: VAE(linear(W, BIAS), 2, likelihood=normal_likelihood),
}


def problem_of(kind="gan"):
    return InverseProblem(GENERATORS[kind](), lambda x: x @ A.T, noise=SD)


def exact_posterior(y):
    operator = A @ W
    precision = torch.eye(2) + operator.T @ operator / SD**2
    covariance = precision.inverse()
    return (y - BIAS @ A.T) @ operator @ covariance / SD**2, covariance


def log_evidence(y):
    operator = A @ W
    return dist.MultivariateNormal(BIAS @ A.T, operator @ operator.T + SD**2 * torch.eye(2)).log_prob(y)


class Shifted(nn.Module):
    """The linear generator, moved by what is known."""

    def __init__(self):
        super().__init__()
        self.layer = linear(W, BIAS)

    def forward(self, z, context):
        return self.layer(z) + context @ U


U = torch.tensor([[0.5, -0.5, 2.0]])
CONDITIONAL = {
    "gan": lambda: ImplicitGenerator(Shifted(), 2, data_shape=(3,)),
    "vae": lambda: VAE(Shifted(), 2, likelihood=normal_likelihood, takes_context=True),
}


@pytest.mark.parametrize("context", [torch.tensor([1.5]), torch.tensor([[1.5], [-1.0], [0.0], [2.0]])])
@pytest.mark.parametrize("kind", CONDITIONAL)
def test_of_a_conditional_generator_the_posterior_is_that_of_its_context(kind, context):
    problem = InverseProblem(CONDITIONAL[kind](), lambda x: x @ A.T, noise=SD, context=context)
    y = torch.randn(4, 2)
    mean, covariance = exact_posterior(y - context @ U @ A.T)
    found = map_estimate(problem, y, num_starts=3, seed=0)
    assert_close(found.z, mean, atol=1e-3, rtol=0)
    z = torch.randn(4, 2)
    trace = pyro.poutine.trace(pyro.condition(problem, {"z": z})).get_trace(y)
    trace.compute_log_prob()
    joint = trace.nodes["z"]["log_prob"] + trace.nodes["y"]["log_prob"]
    posterior = dist.MultivariateNormal(mean, covariance)
    assert_close(joint, log_evidence(y - context @ U @ A.T) + posterior.log_prob(z), atol=1e-4, rtol=1e-4)


def test_a_conditional_flow_is_a_generator_of_its_context():
    torch.manual_seed(0)
    flow = RealNVP(3, context_dim=1)
    for p in flow.parameters():
        p.data += 0.1 * torch.randn_like(p)
    contexts = torch.tensor([[0.5], [-1.0]])
    problem = InverseProblem(flow, lambda x: x[..., :2], noise=SD, context=contexts)
    z = torch.randn(5, 2, 3)
    assert_close(problem.generate(z)[:, 1], flow.transform(contexts[1])(z[:, 1]))
    assert problem(num=2).shape == (2, 2)


@pytest.mark.parametrize(
    ("make", "context", "words"),
    [
        (GENERATORS["vae"], torch.ones(1), "neither decoder nor prior"),
        (lambda: RealNVP(3, context_dim=1), None, "context_dim=1 and expects a context"),
        (lambda: RealNVP(3, context_dim=1), torch.ones(4, 2), "context_dim=1 and expects"),
        (lambda: RealNVP(3), torch.ones(1), "expects no context"),
        (CONDITIONAL["gan"], torch.ones(2, 1, 1), r"shape \(C,\), or \(n, C\)"),
    ],
)
def test_a_context_that_the_generator_does_not_take_is_refused_at_once(make, context, words):
    with pytest.raises(ShapeError, match=words):
        InverseProblem(make(), lambda x: x, noise=SD, context=context)


def test_contexts_for_another_number_of_problems_are_refused():
    problem = InverseProblem(CONDITIONAL["gan"](), lambda x: x, noise=SD, context=torch.ones(4, 1))
    for call in (
        lambda: problem(torch.ones(3, 3)),
        problem,
        lambda: map_estimate(problem, torch.ones(3, 3)),
    ):
        with pytest.raises(ShapeError, match="but 4 contexts"):
            call()


@pytest.mark.parametrize("kind", GENERATORS)
def test_joint_density_is_evidence_times_the_exact_posterior(kind):
    problem, y = problem_of(kind), torch.randn(4, 2)
    mean, covariance = exact_posterior(y)
    z = torch.randn(4, 2)
    trace = pyro.poutine.trace(pyro.condition(problem, {"z": z})).get_trace(y)
    expected = log_evidence(y) + dist.MultivariateNormal(mean, covariance).log_prob(z)
    assert_close(trace.log_prob_sum(), expected.sum(), atol=1e-4, rtol=1e-5)
    assert_close(trace.nodes["x"]["value"], z @ W.T + BIAS)


def test_most_probable_latent_is_the_posterior_mean_from_every_start():
    problem, y = problem_of(), torch.randn(3, 2)
    estimate = map_estimate(problem, y, num_starts=4, steps=200, seed=0)
    assert_close(estimate.z, exact_posterior(y)[0], atol=1e-3, rtol=0)
    assert_close(estimate.agreement, torch.ones(3))


@pytest.mark.slow
def test_nuts_finds_the_exact_posterior():
    problem, y = problem_of(), torch.tensor([[0.5, -1.0], [2.0, 0.3]])
    mcmc = MCMC(NUTS(problem, max_tree_depth=4), num_samples=200, warmup_steps=80, disable_progbar=True)
    mcmc.run(y)
    z = mcmc.get_samples()["z"]
    mean, covariance = exact_posterior(y)
    assert ((z.mean(0) - mean).abs() < 5 * (covariance.diagonal() / 80).sqrt()).all()


@pytest.mark.parametrize("kind", GENERATORS)
def test_flow_guide_finds_the_exact_posterior_and_the_evidence(kind):
    problem, y = problem_of(kind), torch.tensor([[0.5, -1.0]])
    guide = AutoFlow(problem, lambda d: RealNVP(d, num_layers=2, hidden_dims=(4,)), stick_the_landing=True)
    svi = SVI(
        problem,
        guide,
        pyro.optim.ClippedAdam({"lr": 0.02, "lrd": 0.97}),
        Trace_ELBO(4, vectorize_particles=True, max_plate_nesting=1),
    )
    for _ in range(150):
        svi.step(y)
    mean, covariance = exact_posterior(y)
    z = guide.sample_sites(20_000)["z"][:, 0]
    assert_close(z.mean(0), mean[0], atol=0.05, rtol=0)
    assert_close(z.mT.cov(), covariance, atol=0.03, rtol=0)
    drawn = importance_draws(problem, guide, y, num_samples=1000)
    assert drawn.log_evidence == pytest.approx(log_evidence(y).item(), abs=0.01)


def test_flow_is_a_generator_and_so_is_its_model():
    flow = Whitened(RealNVP(3, num_layers=1), loc=BIAS)
    for generator in (flow, NormalizingFlow(flow)):
        problem = InverseProblem(generator, lambda x: x[..., :2], noise=0.1)
        assert_close(problem.generate(torch.zeros(5, 3)), BIAS.expand(5, 3))
        assert problem(num=7).shape == (7, 2)


def test_generator_is_copied_frozen_and_left_alone():
    generator = GENERATORS["gan"]().train()
    problem = InverseProblem(generator, lambda x: x, noise=0.1)
    assert generator.training
    assert all(p.requires_grad for p in generator.parameters())
    pyro.poutine.trace(problem).get_trace(torch.zeros(1, 3))
    assert not problem.generator.training
    assert not list(pyro.get_param_store())
    assert not any(p.requires_grad for p in problem.parameters())


def test_noise_of_any_distribution():
    problem = InverseProblem(
        GENERATORS["gan"](), lambda x: x, lambda seen: dist.StudentT(3.0, seen).to_event(1)
    )
    z = torch.randn(2, 2)
    trace = pyro.poutine.trace(pyro.condition(problem, {"z": z})).get_trace(torch.zeros(2, 3))
    expected = dist.StudentT(3.0, z @ W.T + BIAS).log_prob(torch.tensor(0.0)).sum()
    assert_close(trace.log_prob_sum() - dist.Normal(0.0, 1.0).log_prob(z).sum(), expected)


def test_observation_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"needs shape \(n, 2\)"):
        problem_of()(torch.zeros(4, 3))


def test_starts_and_observations_that_make_no_sense_are_refused_before_any_step():
    with pytest.raises(ShapeError, match=r"needs shape \(n, 2\)"):
        map_estimate(problem_of(), torch.zeros(4, 3))
    for wrong in ({"num_starts": 0}, {"steps": 0}, {"lr": -0.1}):
        with pytest.raises(DataError, match=next(iter(wrong))):
            map_estimate(problem_of(), torch.zeros(4, 2), **wrong)


def test_operator_that_loses_the_batch_is_refused():
    problem = InverseProblem(GENERATORS["gan"](), lambda x: x.sum(), noise=0.1)
    with pytest.raises(ShapeError, match="batch dimensions"):
        problem(num=2)


@pytest.mark.parametrize("noise", [0.0, -1.0, torch.tensor([0.1, 0.0])])
def test_noise_that_is_not_positive_is_refused(noise):
    with pytest.raises(DataError, match="positive"):
        InverseProblem(GENERATORS["gan"](), lambda x: x, noise=noise)


def test_plain_network_is_refused():
    with pytest.raises(TypeError, match="ImplicitGenerator"):
        InverseProblem(nn.Linear(2, 3), lambda x: x, noise=0.1)


def test_generator_on_another_device_is_refused():
    for generator, operator, noise in (
        (GENERATORS["gan"](), nn.Linear(3, 3, device="meta"), 0.1),
        (GENERATORS["gan"]().to("meta"), nn.Linear(3, 3), 0.1),
        (GENERATORS["gan"]().to("meta"), lambda x: x, torch.ones(3)),
    ):
        with pytest.raises(DataError, match="one device, but are on cpu, meta"):
            InverseProblem(generator, operator, noise)


def test_observation_on_another_device_is_refused():
    with pytest.raises(DataError, match="generator is on cpu, but y is on meta"):
        problem_of()(torch.zeros(1, 2, device="meta"))
