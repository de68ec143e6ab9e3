"""A frozen flow answers several threads at once as it answers one."""

import threading

import pytest
import torch

from pyro_dgm.flows import CNF, MAF, NeuralSpline, Planar, RealNVP

FLOWS = {
    "real-nvp": lambda: RealNVP(2, num_layers=2, hidden_dims=(8,)),
    "maf": lambda: MAF(2, context_dim=2, num_layers=2, hidden_dims=(8,)),
    "spline": lambda: NeuralSpline(2, num_layers=2, hidden_dims=(8,)),
    "planar": lambda: Planar(2, num_layers=2),
    "cnf": lambda: CNF(2, hidden_dims=(8,), nt_train=4),
}


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)
def test_scores_of_eight_threads_are_those_of_one(make):
    flow = make().freeze()
    x = torch.randn(8, 20, 2)
    context = torch.randn(20, 2) if flow.context_dim else None
    expected = [flow(context).log_prob(rows) for rows in x]
    wrong, errors = [], []

    def work(number):
        try:
            for _ in range(10):
                d = flow(context)
                if not torch.equal(d.log_prob(x[number]), expected[number]):
                    wrong.append(number)
                assert d.sample((3,)).isfinite().all()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, errors) == ([], [])
