"""A model that gives latents a dimension too many is right for one draw only, and is refused."""

import re

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal

from pyro_dgm.errors import ShapeError
from pyro_dgm.inference import importance_draws, trust
from pyro_dgm.inference.program import Program


def slope(x, y, widen=True):
    w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))[..., 0]
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.Normal((w.unsqueeze(-1) if widen else w) * x, 1.0), obs=y)


def test_the_site_is_named_and_what_to_do():
    x = torch.randn(12)
    guide = AutoNormal(slope)
    guide(x, 2 * x)
    words = r"scores site 'y' in shape \(\d+, \d+, 12\).*w\[\.\.\., i\]"
    with pytest.raises(ShapeError, match=words):
        importance_draws(slope, guide, x, 2 * x, num_samples=50)
    report = trust(guide, slope, x, 2 * x, num_samples=50)
    assert not report.trusted
    assert re.search(words, str(report))
    draws = {"w": torch.randn(50, 2)}
    with pytest.raises(ShapeError, match=words):
        Program(slope, x, 2 * x).log_likelihood(draws)


def test_read_from_the_right_the_weights_are_those_of_a_loop():
    x = torch.randn(12)
    guide = AutoNormal(slope)
    guide(x, 2 * x, widen=False)
    posterior = dist.Normal(guide.locs.w.detach(), guide.scales.w.detach()).to_event(1)
    for vectorize in (True, False):
        drawn = importance_draws(slope, guide, x, 2 * x, widen=False, num_samples=50, vectorize=vectorize)
        w = drawn.samples["w"]
        joint = dist.Normal(0.0, 1.0).log_prob(w).sum(-1)
        joint = joint + dist.Normal(w[:, :1] * x, 1.0).log_prob(2 * x).sum(-1)
        torch.testing.assert_close(drawn.log_weights, joint - posterior.log_prob(w), atol=1e-4, rtol=1e-4)
