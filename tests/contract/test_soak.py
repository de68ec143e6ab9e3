"""The change of variables under many weights: fifty seeds for what the fast tests see once."""

import pytest
import torch

from tests.contract.cases import CASES, context_for, perturbed, points_for

SEEDS = 50


@pytest.mark.soak
@pytest.mark.parametrize("name", CASES)
def test_round_trip_and_log_det_hold_for_many_weights(name):
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        flow = perturbed(CASES[name]().double()).eval()
        integrated = hasattr(flow, "nt_eval")
        transform = flow.transform(context_for(flow))
        x = points_for(flow, 10)
        y, ladj = transform.call_and_ladj(x)
        with torch.no_grad():
            error = ((transform.inv(y) - x).abs() / x.abs().clamp(min=1)).max()
        assert error < (1e-2 if integrated else 1e-9), (seed, error)
        rows = torch.stack([torch.autograd.functional.jacobian(transform, row) for row in x[:3]])
        rows = rows.view(3, y[0].numel(), -1)
        gap = (torch.linalg.slogdet(rows).logabsdet - ladj[:3]).abs().max()
        assert gap < (1e-1 if integrated else 1e-8), (seed, gap)
