"""Batch normalisation in a generator: statistics of its own draws, and layers that keep them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["batch_norms", "measure_statistics"]


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """Return the layers of batch normalisation that keep running statistics.

    Example:
        >>> len(batch_norms(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))))
        1
    """
    return [m for m in module.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


@torch.no_grad()
def measure_statistics(model: nn.Module, draw: Callable[[], Tensor], passes: int, seed: int) -> None:
    """Set running statistics to the means over so many batches of draws, and leave all modes as they were.

    Each layer sees draws of the layers below as they are in training, normalised by their own batch. The
    stream of random numbers is left where it was.

    Args:
        model: Whose layers to set.
        draw: Runs the model once.
        passes: Number of batches.
        seed: Of the draws.

    Reference:
        Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018, do so
        with the data of a classifier. https://arxiv.org/abs/1803.05407
    """
    layers = batch_norms(model)
    before = [(layer, layer.training, layer.momentum) for layer in layers]
    try:
        for layer in layers:
            layer.train()
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over all passes
        devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
        with torch.random.fork_rng(devices=list(devices)):
            torch.manual_seed(seed)
            for _ in range(passes if layers else 0):
                draw()
    finally:
        for layer, training, momentum in before:
            layer.train(training)
            layer.momentum = momentum
