"""What the papers say of their maps: volumes kept, triangular conditioners, one flow the other's inverse."""

import pyro.distributions as dist
import pytest
import torch
from torch.autograd.functional import jacobian
from torch.testing import assert_close

from pyro_dgm.flows import IAF, MAF, NICE, AutoregressiveFlow
from pyro_dgm.transforms import Affine, Elementwise


def perturbed(flow):
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.5 * torch.randn_like(p))
    return flow.double()


@pytest.mark.parametrize("base", ["normal", "logistic"])
def test_nice_without_its_scale_keeps_volumes_and_with_it_has_one_factor_everywhere(base):
    x = 3 * torch.randn(20, 5).double()
    shifts = perturbed(NICE(5, hidden_dims=(8,), base=base, scale=False)).transform()
    assert_close(shifts.call_and_ladj(x)[1], torch.zeros(20).double(), rtol=0, atol=0)
    for row in x[:4]:
        assert_close(torch.linalg.det(jacobian(shifts, row)), torch.tensor(1.0).double(), rtol=0, atol=1e-6)
    flow = perturbed(NICE(5, hidden_dims=(8,), base=base))
    ladj = flow.transform().call_and_ladj(x)[1]
    assert_close(ladj, flow.scale().sum().expand(20))
    density = flow().log_prob(x)
    z = flow.transform().inv(x)
    assert_close(density, flow.base().log_prob(z) - ladj)


def test_the_logistic_base_is_the_one_of_the_paper():
    h = 4 * torch.randn(20, 3).double()
    expected = -((1 + h.exp()).log() + (1 + (-h).exp()).log()).sum(-1)
    assert_close(NICE(3, base="logistic").double().base().log_prob(h), expected)


@pytest.mark.parametrize("context_dim", [0, 2])
def test_conditioners_are_strictly_triangular_in_an_order_that_turns_round(context_dim):
    flow = perturbed(MAF(5, context_dim, num_layers=2, hidden_dims=(32, 32)))
    context = torch.randn(context_dim, 1).double() if context_dim else None
    for net, reverse in zip(flow.conditioners, (False, True), strict=True):
        found = torch.zeros(2, 5, 5).double()
        for x in torch.randn(10, 5).double():  # a unit may be off at one point
            of_x = jacobian(lambda v, net=net: net(v.unsqueeze(1), context).view(2, 5), x)
            found = torch.maximum(found, of_x.abs())
        earlier = torch.ones(5, 5).tril(-1).bool()
        earlier = earlier.T if reverse else earlier
        assert (found[:, ~earlier] == 0).all()
        assert (found[:, earlier] > 0).all()


class AffineBackwards(Elementwise):
    """The affine function the other way round: ``y = (x - mu) exp(-alpha)``."""

    num_parameters = 2

    def __init__(self):
        self.affine = Affine()

    def call(self, x, parameters):
        return self.affine.inverse(x, parameters)

    def inverse(self, y, parameters):
        return self.affine.call(y, parameters)


def test_maf_is_the_inverse_of_an_affine_iaf_with_its_conditioners():
    # sigma = exp(-alpha) and shift = -mu exp(-alpha): what the IAF draws, the MAF reads
    maf = perturbed(MAF(4, num_layers=1, hidden_dims=(16,)))
    iaf = AutoregressiveFlow(4, AffineBackwards(), "latent", num_layers=1, hidden_dims=(16,)).double()
    iaf.load_state_dict(maf.state_dict())
    x = torch.randn(20, 4).double()
    u, log_det = maf.transform().inverse_and_ladj(x)
    assert_close(iaf.transform().call_and_ladj(x), (u, log_det))
    assert_close(iaf.transform().inv(u), x)
    # the density of the paper, written out
    mu, raw = maf.conditioners[0](x.T).T.reshape(20, 2, 4).unbind(1)
    alpha = 3 * torch.tanh(raw / 3)
    assert_close((u, log_det), ((x - mu) * (-alpha).exp(), -alpha.sum(-1)))


def test_one_linear_iaf_step_is_a_normal_with_a_full_covariance():
    flow = IAF(3, num_layers=1, hidden_dims=(12,)).double()
    net = flow.conditioners[0]
    with torch.no_grad():
        first, last = (weight.normal_() for weight in net.weights)
        last[3:] = 0  # gates that are the same everywhere
        net.biases[0].fill_(200.0)  # all units stay on, so that the network is linear
        gate, mean = torch.tensor([1.0, 0.3, 2.0]).double(), torch.tensor([0.5, -1.0, 2.0]).double()
        net.biases[1][3:] = 6 * torch.atanh(gate / 6)
        hidden = (last * net.mask_1)[:3]
        net.biases[1][:3] = mean - hidden @ net.biases[0]
    sigma = gate.sigmoid()
    matrix = sigma.diag() + (1 - sigma).unsqueeze(1) * (hidden @ (first * net.mask_0))
    exact = dist.MultivariateNormal((1 - sigma) * mean, matrix @ matrix.T)
    assert (exact.covariance_matrix.tril(-1)[1:].abs().sum(1) > 1e-2).all()
    x, log_q = flow().rsample_and_log_prob((50,))
    assert_close(log_q, exact.log_prob(x))
    foreign = exact.sample((50,))
    assert_close(flow().log_prob(foreign), exact.log_prob(foreign))
