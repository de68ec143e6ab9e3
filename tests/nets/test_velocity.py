"""Velocities: closed-form traces and Jacobian products against automatic differentiation."""

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian
from torch.testing import assert_close

from pyro_dgm.nets import (
    ConcatSquashVelocity,
    MLPVelocity,
    ModuleVelocity,
    OTPotential,
    PlanarVelocity,
    PotentialVelocity,
    Velocity,
)


class Bilinear(nn.Module):
    """A network of one's own, which knows nothing of velocities."""

    def __init__(self, size, context_dim):
        super().__init__()
        self.one, self.two = nn.Linear(size, size), nn.Linear(size + context_dim, size)

    def forward(self, t, x, context):
        return torch.sin(self.one(x)) * (t + self.two(torch.cat([x, context], 1)))


VELOCITIES = {
    "mlp-1": lambda: MLPVelocity(3, 2, hidden_dims=(7,), end_time=0.5),
    "mlp-2": lambda: MLPVelocity(3, 2, hidden_dims=(7, 5)),
    "mlp-4": lambda: MLPVelocity(3, 2, hidden_dims=(7, 5, 6, 4)),
    "mlp-3-wide": lambda: MLPVelocity(6, 2, hidden_dims=(7, 5, 4)),
    "mlp-2-1d": lambda: MLPVelocity(1, hidden_dims=(4, 4)),
    "concatsquash": lambda: ConcatSquashVelocity(3, 2, hidden_dims=(7, 5), end_time=2.0),
    "planar": lambda: PlanarVelocity(3, 2, width=6),
    "potential": lambda: PotentialVelocity(OTPotential(3, 2, width=5, depth=3), end_time=0.5),
    "module": lambda: ModuleVelocity(Bilinear(3, 2), 3, 2),
}


@pytest.fixture(params=VELOCITIES.values(), ids=VELOCITIES.keys())
def velocity(request):
    velocity = request.param().double()
    with torch.no_grad():
        for p in velocity.parameters():
            p.add_(torch.randn_like(p))
    return velocity


def rows_and_jacobians(velocity, n=6):
    """Rows, what an evaluation leaves of them, and the Jacobian of dx/dt of each."""
    size = velocity.input_dim
    s = torch.randn(n, size + 1 + velocity.context_dim, dtype=torch.double)
    evaluate = velocity.prepare()

    def of_x(x, rest):
        return evaluate(torch.cat([x, rest])[None])[0][0, :size]

    jacobians = [jacobian(lambda x, row=row: of_x(x, row[size:]), row[:size]) for row in s]
    return s, evaluate(s), torch.stack(jacobians)


def test_trace_is_that_of_the_autograd_jacobian(velocity):
    _, sweep, jacobians = rows_and_jacobians(velocity)
    expected = jacobians.diagonal(dim1=1, dim2=2).sum(1)
    assert expected.abs().max() > 0.1
    assert_close(velocity.trace(sweep), expected, rtol=0, atol=1e-10)
    assert_close(velocity.autograd_trace(sweep), expected, rtol=0, atol=1e-10)


def test_pull_and_square_are_those_of_the_autograd_jacobian(velocity):
    _, sweep, jacobians = rows_and_jacobians(velocity)
    cotangent = torch.randn(6, velocity.input_dim, dtype=torch.double)
    expected = torch.einsum("ni,nij->nj", cotangent, jacobians)
    assert_close(velocity.pull(sweep, cotangent), expected, rtol=0, atol=1e-10)
    assert_close(velocity.square_jacobian(sweep), jacobians.square().sum((1, 2)), rtol=0, atol=1e-10)
    assert_close(Velocity.square_jacobian(velocity, sweep), velocity.square_jacobian(sweep))


def test_time_moves_at_speed_one_and_context_stays(velocity):
    s, sweep, _ = rows_and_jacobians(velocity)
    size = velocity.input_dim
    speeds = torch.eye(1 + velocity.context_dim, dtype=torch.double)[0].expand(6, -1)
    assert torch.equal(sweep[0][:, size:], speeds)
    assert torch.equal(sweep[1], s)


def test_call_is_the_velocity_in_the_time_from_base_to_data(velocity):
    s, sweep, _ = rows_and_jacobians(velocity)
    size, context = velocity.input_dim, s[:, velocity.input_dim + 1 :] if velocity.context_dim else None
    if velocity.data_time > velocity.base_time:
        time, direction = s[:, size], 1
    else:
        time, direction = velocity.base_time - s[:, size], -1
    assert_close(velocity(time, s[:, :size], context), direction * sweep[0][:, :size])


def test_mlp_is_the_tanh_network_of_its_weights():
    velocity = MLPVelocity(3, 2, hidden_dims=(7, 5)).double()
    nn.init.normal_(velocity.layers[-1].weight)
    s = torch.randn(6, 6, dtype=torch.double)
    network = nn.Sequential(velocity.layers[0], nn.Tanh(), velocity.layers[1], nn.Tanh(), velocity.layers[2])
    assert_close(velocity(s[:, 3], s[:, :3], s[:, 4:]), network(s))


def test_concatsquash_is_the_formula():
    v = ConcatSquashVelocity(2, 1, hidden_dims=(4, 3)).double()
    with torch.no_grad():
        for p in v.parameters():
            p.copy_(torch.randn_like(p))
    x, t, c = (torch.randn(6, n, dtype=torch.double) for n in (2, 1, 1))
    gates = v.gates(t).sigmoid().split([4, 3], 1)
    u = x
    shifts = v.shifts(torch.cat([t, c], 1)).split([4, 3, 2], 1)
    for layer, gate, shift in zip(v.layers[:2], gates, shifts, strict=False):
        u = torch.tanh(gate * layer(u) + shift)
    assert_close(v(t[:, 0], x, c), v.layers[2](u) + shifts[2])


def test_a_fresh_velocity_is_zero():
    for make in (MLPVelocity, ConcatSquashVelocity, PlanarVelocity):
        assert not make(3)(0.3, torch.randn(5, 3)).any()


def test_sizes_that_make_no_sense_are_refused():
    for make in (lambda: MLPVelocity(2, hidden_dims=()), lambda: ConcatSquashVelocity(2, hidden_dims=(4,))):
        with pytest.raises(ValueError, match="hidden"):
            make()
    with pytest.raises(ValueError, match="end_time"):
        PlanarVelocity(2, end_time=0)
