"""The energy distance of a model's samples with everything that it must be read beside."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_dgm.data import ImageData
from pyro_dgm.metrics import Estimate, energy_distance, real_floor
from pyro_dgm.recipes import Run, build_model
from pyro_dgm.report.measurement import Measurement
from pyro_dgm.training.isolation import own_random_state

__all__ = ["energy_rows", "pixel_fit"]


def energy_rows(run: Run, data: ImageData, *, num: int | None = None, seed: int = 1) -> list[Measurement]:
    """Compare samples of a model with test images, beside the floor and two references.

    The floor is what real images score against real images at the same sample size. The references are the
    same network before training, and independent pixels with the means and spreads of the training images:
    what a model that has learned no shapes can do. Grey images must beat both. Binary pixels look nearly
    independent to this distance, so there the second reference only orients.

    Args:
        run: The trained model of images.
        data: Images whose test part it is compared with.
        num: Number of samples and of test images; all test images by default.
        seed: Seed of all draws.
    """
    real = _real(data)
    num = min(num or len(data.test), len(data.test), len(real) // 2)
    order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(seed))
    test = data.test[order[:num]]
    floor = real_floor(real, num, seed=seed)
    model = energy_distance(run.model.sample(num, seed=seed), test)
    with own_random_state(run.config.get("seed", 0)):
        fresh = build_model(run.config)
    untrained = energy_distance(fresh.sample(num, seed=seed), test)
    pixels = energy_distance(pixel_fit(data, num, seed), test)
    binary = data.binarization is not None
    beaten = model.high < untrained.low and (binary or model.high < pixels.low)
    limit = f"below {'the first' if binary else 'both'} of the next two; floor {_range(floor)}"
    source = (
        f"unbiased, {num} samples against {num} shuffled test images, in units of a pixel's range, 95% "
        f"interval; compared with {data.name}"
    )
    kind = "Bernoulli" if binary else "Gaussian"
    splits = "200 random splits into two disjoint sets of that size, 95% of them in the interval"
    rows = (
        ("energy distance", model, limit, source, beaten),
        ("... before training", untrained, "reference", "", None),
        (f"... of a per-pixel {kind}", pixels, "reference", "fitted to the training images", None),
        ("... of real images, the floor", floor, "0 in expectation", splits, None),
    )
    return [_row(run.name, data.name, *row) for row in rows]


def pixel_fit(data: ImageData, n: int, seed: int) -> Tensor:
    """Draw images of independent pixels fitted to the training images.

    Binary pixels are Bernoulli; grey ones are normal with the mean and the standard deviation of each pixel,
    clipped to the range of the data, which brings them closer to it.
    """
    generator = torch.Generator().manual_seed(seed)
    mean = data.train.mean(0).expand(n, *data.event_shape)
    if data.binarization is not None:
        return torch.bernoulli(mean, generator=generator)
    noise = torch.randn(mean.shape, generator=generator)
    return (mean + data.train.std(0) * noise).clamp(0, 1)


def _real(data: ImageData) -> Tensor:
    """All real images; training images that are drawn anew at each access are drawn once."""
    generator = torch.Generator().manual_seed(0)
    return torch.cat([data.batch(torch.arange(len(data.train)), generator), data.test])


def _range(estimate: Estimate) -> str:
    return f"[{estimate.low:.3f}, {estimate.high:.3f}]"


def _row(
    model: str, data: str, name: str, estimate: Estimate, limit: str, source: str, holds: bool | None
) -> Measurement:
    low, high = estimate.low, estimate.high
    return Measurement(model, data, name, estimate.value, "", limit, source, low=low, high=high, holds=holds)
