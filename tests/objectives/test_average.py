import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.objectives.average import WeightAverage


def test_average_is_the_recursion_of_its_docstring():
    net = nn.Linear(2, 2)
    average = WeightAverage(net, decay=0.5)
    expected = net.weight.detach().clone()
    for t in range(20):
        with torch.no_grad():
            net.weight.normal_()
        average.update(net)
        beta = min(0.5, (1 + t) / (10 + t))
        expected = beta * expected + (1 - beta) * net.weight.detach()
    assert_close(average.model.weight, expected)


def test_running_statistics_are_averaged_and_counts_copied():
    net = nn.BatchNorm1d(2)
    average = WeightAverage(net)
    net(torch.randn(16, 2) + 5)
    average.update(net)
    assert_close(average.model.running_mean, 0.9 * net.running_mean)
    assert average.model.num_batches_tracked == 1


def test_averaged_model_is_in_evaluation_mode_without_gradients():
    average = WeightAverage(nn.Linear(2, 2))
    assert not average.model.training
    assert not any(p.requires_grad for p in average.model.parameters())


def test_a_decay_outside_the_unit_interval_is_an_error():
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        WeightAverage(nn.Linear(2, 2), decay=1.0)
