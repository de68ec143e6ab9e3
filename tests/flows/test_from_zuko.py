"""Zuko's flows as ours: the same densities, better inverses, and a place in Pyro."""

import copy
import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from torch.distributions import constraints
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import from_zuko
from pyro_dgm.zuko_guard import import_zuko

zuko = import_zuko()
KINDS = {
    "naf": lambda d, c: zuko.flows.NAF(
        d, c, transforms=2, hidden_features=(8,), network={"hidden_features": (8,)}
    ),
    "unaf": lambda d, c: zuko.flows.UNAF(
        d, c, transforms=2, hidden_features=(8,), network={"hidden_features": (8,)}
    ),
    "bernstein": lambda d, c: zuko.flows.BPF(d, c, transforms=2, hidden_features=(8,)),
    "sos": lambda d, c: zuko.flows.SOSPF(d, c, transforms=1, hidden_features=(8,)),
    "maf": lambda d, c: zuko.flows.MAF(d, c, transforms=2, hidden_features=(8,)),
    "coupling": lambda d, c: zuko.flows.RealNVP(d, c, transforms=2, hidden_features=(8,)),
    "spline": lambda d, c: zuko.flows.NSF(d, c, transforms=2, hidden_features=(8,)),
    "nice": lambda d, c: zuko.flows.NICE(d, c, transforms=2, hidden_features=(8,)),
    "circular": lambda d, c: zuko.flows.NCSF(d, c, transforms=2, hidden_features=(8,)),
    "gaussianisation": lambda d, c: zuko.flows.GF(d, c, transforms=2, hidden_features=(8,)),
    "continuous": lambda d, c: zuko.flows.CNF(d, c, hidden_features=(8,)),
}
ADAPTIVE = 1e-3  # zuko's solver stops at a tolerance of its own


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def theirs(request):
    return request.param(2, 3).double()


def test_density_and_support_are_zukos(theirs):
    flow, context, x = (
        from_zuko(theirs, context_dim=3),
        torch.randn(6, 3).double(),
        torch.randn(6, 2).double(),
    )
    x = x.clamp(-3, 3)
    assert_close(flow.eval()(context).log_prob(x), theirs.eval()(context).log_prob(x))
    assert flow(context).batch_shape == (6,)
    if isinstance(theirs, zuko.flows.NCSF):
        assert flow(context).support.check(flow(context).sample()).all()
        with pytest.raises(DataError, match="outside of the flow's support"):
            flow(context).log_prob(x + 7)
    else:
        assert flow(context).support is constraints.real_vector


def test_round_trip_is_exact_for_data_of_scale_three(theirs):
    # Zuko's Gaussianisation is flat beyond 4.9 latent standard deviations; its circle ends at pi.
    scale = 1.0 if isinstance(theirs, zuko.flows.GF | zuko.flows.NCSF) else 3.0
    flow, context, y = (
        from_zuko(theirs, context_dim=3).eval(),
        torch.randn(200, 3).double(),
        (scale * torch.randn(200, 2).double()).clamp(-3 * scale, 3 * scale),
    )
    t = flow.transform(context)
    limit = ADAPTIVE if isinstance(theirs, zuko.flows.CNF) else 1e-10
    assert ((t(t.inv(y)) - y).abs() / y.abs().clamp(min=1)).max() < limit


def test_draws_have_true_gradients_and_their_density_needs_no_inverse(theirs):
    flow, context = from_zuko(theirs, context_dim=3).eval(), torch.randn(3, 3).double()
    x = 0.5 * torch.randn(3, 2, dtype=torch.double, requires_grad=True)
    adaptive = isinstance(theirs, zuko.flows.CNF)  # its gradient is that of the adjoint equation
    assert torch.autograd.gradcheck(
        flow.transform(context).call_and_ladj, x, atol=1e-2 if adaptive else 1e-4, nondet_tol=adaptive * 1e-3
    )
    d = flow(context)
    y = d.rsample()
    drawn = y.isfinite().all(-1)  # zuko's NAF clips between its layers: some latents belong to no data
    assert drawn.any()
    scored = d.log_prob(torch.where(drawn[:, None], y, 0.0).detach())
    limit = ADAPTIVE if adaptive else 1e-6
    assert_close(d.log_prob(y)[drawn], scored[drawn], atol=limit, rtol=limit)


def test_second_derivatives_through_the_solved_inverse():
    flow = from_zuko(KINDS["naf"](1, 0).double())
    x = torch.randn(2, 1, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(flow.transform(), x)


def test_transform_alone_is_a_flow_with_a_normal_base():
    lazy = zuko.flows.MaskedAutoregressiveTransform(2, hidden_features=(8,)).double()
    flow = from_zuko(lazy, 2, support=constraints.positive)
    assert flow().support.check(flow().sample((5,))).all()
    fixed = from_zuko(zuko.transforms.MonotonicAffineTransform(torch.tensor([1.0]), torch.tensor([0.0])), 1)
    assert_close(fixed().log_prob(torch.zeros(1)), dist.Normal(-1.0, 1.0).log_prob(torch.zeros(())))


def test_weights_are_the_very_same_and_travel(theirs):
    flow, context, x = from_zuko(theirs, context_dim=3), torch.randn(3).double(), torch.randn(4, 2).double()
    assert {id(p) for p in flow.parameters()} == {id(p) for p in theirs.parameters()}
    for twin in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert torch.equal(twin(context).log_prob(x), flow(context).log_prob(x))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="context_dim=1"):
        from_zuko(zuko.flows.MAF(2, 3), context_dim=1)
    with pytest.raises(DataError, match="give input_dim"):
        from_zuko(zuko.flows.MAF(2).transform)
    with pytest.raises(DataError, match="got a GMM"):  # a distribution, with no map to a latent
        from_zuko(zuko.flows.GMM(2))
    with pytest.raises(DataError, match="got a Linear"):
        from_zuko(torch.nn.Linear(1, 1))


def test_latent_prior_of_zuko_under_svi_nuts_and_parallel_predictive():
    flow = from_zuko(KINDS["naf"](2, 0)).freeze()

    def model():
        z = pyro.sample("z", flow())
        return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=torch.ones(2))

    guide = pyro.infer.autoguide.AutoNormal(model)
    SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO()).step()
    mcmc = MCMC(NUTS(model, max_tree_depth=3), num_samples=3, warmup_steps=3, disable_progbar=True)
    mcmc.run()
    assert mcmc.get_samples()["z"].shape == (3, 2)
    assert Predictive(lambda: pyro.sample("z", flow()), num_samples=7, parallel=True)()["z"].shape == (7, 2)
