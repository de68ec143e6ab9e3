"""The numbers of one model in a comparison, each measured alike for every family."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_dgm import metrics
from pyro_dgm.data import ImageData, RowData, Target2D
from pyro_dgm.diagnostics import aggregate_posterior
from pyro_dgm.metrics import ClassifierTest, Estimate, PinnedClassifier, bits_per_dim, energy_distance
from pyro_dgm.metrics.kernels import median_distance
from pyro_dgm.models import VAE, GenerativeModel, NormalizingFlow
from pyro_dgm.models.generative_model import evaluating, seeded
from pyro_dgm.report.flow_rows import likelihood_rows
from pyro_dgm.report.measurement import Measurement
from pyro_dgm.report.memory import peak_bytes
from pyro_dgm.report.pinned_rows import class_rows, classifier_of, feature_metrics

__all__ = ["Yardstick", "cost_of", "latent_rows", "model_likelihood", "sample_rows"]


@dataclass(frozen=True)
class Yardstick:
    """Real rows, the metrics of samples, and what real rows score against real rows.

    Attributes:
        data: The data set.
        test: Test rows that likelihoods are taken of and samples are compared with, ``(n, *event)``.
        train: Training rows, or None where fresh rows can be drawn without end.
        battery: Metrics by name.
        floors: Their floors at the same sample size.
        classifier: The fixed classifier of digits, or None for other data.
    """

    data: Target2D | ImageData | RowData
    test: Tensor
    train: Tensor | None
    battery: dict[str, Callable[[Any, Any], Estimate]]
    floors: dict[str, Estimate]
    classifier: PinnedClassifier | None = None

    @classmethod
    def of(cls, data: Target2D | ImageData | RowData, num: int, seed: int, num_splits: int = 10) -> Yardstick:
        """Draw or choose rows, and measure the floors on disjoint halves of real rows."""
        if isinstance(data, Target2D):
            pool, train = data.sample(2 * num, seed=seed), None
        else:
            num = min(num, len(data.test) // 2)
            order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(seed))
            pool, train = data.test[order[: 2 * num]], data.train
        battery: dict[str, Callable[[Any, Any], Estimate]] = {
            name: metrics.metric(name)
            for name in ("energy", "sliced-w1", "c2st-knn", "precision", "recall", "density", "coverage")
        }
        width = median_distance(pool.flatten(1).double())
        battery["mmd"] = lambda a, b: metrics.mmd(a, b, bandwidth=width)
        classifier = classifier_of(data)
        if classifier is not None:
            battery |= feature_metrics(classifier, num)
        floors = {
            name: metrics.floor_of(metric, pool, num, num_splits=num_splits, seed=seed)
            for name, metric in battery.items()
        }
        return cls(data, pool[:num], train, battery, floors, classifier)


def model_likelihood(
    name: str, rule: Yardstick, model: GenerativeModel, num_particles: int, seed: int
) -> list[Measurement]:
    """An exact likelihood, or bounds, under names that never share a row; nothing where neither exists."""
    data, x, can = rule.data, rule.test, model.capabilities
    with torch.no_grad(), evaluating(model), seeded(seed):
        if can.has_log_prob and isinstance(data, Target2D):
            return likelihood_rows(name, data, model, x)
        if can.has_log_prob:
            return [_mean(name, data.name, "-log p, exact", -model.log_prob(x), "a density of values")]
        if not can.has_bound:
            return []
        known = {"-ELBO": 1, f"-IWAE, K = {num_particles}": num_particles}
        found = {quantity: -model.log_prob_bound(x, k) for quantity, k in known.items()}
    note = "an upper bound of the NLL in expectation"
    rows = [_mean(name, data.name, quantity, values, note) for quantity, values in found.items()]
    tightest = found[f"-IWAE, K = {num_particles}"]
    bits = bits_per_dim(-tightest.mean(), x.shape[1:]).item()
    return [*rows, Measurement(name, data.name, "-IWAE in bits", bits, "bits/dim", "", "the same, per entry")]


def sample_rows(name: str, rule: Yardstick, samples: Tensor, seed: int) -> list[Measurement]:
    """Distances of samples from test rows, each beside what real rows score."""
    rows = []
    for quantity, metric in rule.battery.items():
        found, floor = metric(samples, rule.test), rule.floors[quantity]
        p = f", p = {found.p_value:.3g}" if isinstance(found, ClassifierTest) else ""
        limit = f"real against real: {floor.value:.4f} [{floor.low:.4f}, {floor.high:.4f}]"
        source = f"{found.num_a} samples or test halves against {found.num_b} real rows{p}"
        rows.append(
            Measurement(
                name, rule.data.name, quantity, found.value, "", limit, source, low=found.low, high=found.high
            )
        )
    if rule.classifier is not None:
        rows += class_rows(name, rule.data.name, rule.classifier, samples, rule.test)
    if rule.train is not None:
        ratio = metrics.nearest_train_ratio(samples, rule.train, rule.test, seed=seed)
        how = "median distance to the nearest training row, of samples over that of test rows"
        rows.append(
            Measurement(
                name,
                rule.data.name,
                "nearest-train ratio",
                ratio.value,
                "",
                "1 for new rows of the same distribution",
                how,
                low=ratio.low,
                high=ratio.high,
            )
        )
    return rows


def latent_rows(name: str, rule: Yardstick, model: GenerativeModel, seed: int) -> list[Measurement]:
    """How far the latents of test rows are from those that samples are drawn with."""
    if isinstance(model, NormalizingFlow):
        with torch.no_grad(), evaluating(model), seeded(seed):
            z, base = model.encode(rule.test), model.flow.base()
            drawn = base.sample(torch.Size([3 * len(z)]))
        floor = metrics.real_floor(drawn[len(z) :], seed=seed)
        found = energy_distance(z, drawn[: len(z)], seed=seed, floor=floor)
    elif isinstance(model, VAE) and hasattr(model.guide, "posterior"):
        found = aggregate_posterior(model, rule.test, seed=seed)
    else:
        return []
    limit = "" if found.floor is None else f"floor [{found.floor.low:.4f}, {found.floor.high:.4f}]"
    how = "energy distance of latents of test rows from the prior: what training covers against what is drawn"
    return [
        Measurement(
            name,
            rule.data.name,
            "latents from prior",
            found.value,
            "",
            limit,
            how,
            low=found.low,
            high=found.high,
        )
    ]


def cost_of(name: str, rule: Yardstick, model: GenerativeModel) -> list[Measurement]:
    """Parameters, and processor time of samples and of likelihoods."""
    x, can = rule.test, model.capabilities
    values = [("parameters", "", float(sum(p.numel() for p in model.parameters())), "")]
    model.sample(len(x), seed=0)  # the first call is slower
    how = f"second call with {len(x)} rows, scaled"
    values.append(("time for 1000 samples", "CPU s", _seconds(lambda: model.sample(len(x), seed=0), x), how))
    peak = peak_bytes(lambda: model.sample(len(x), seed=0)) / 1e6
    values.append((f"peak memory for {len(x)} samples", "MB", peak, "tensors alive at once"))
    if can.has_log_prob or can.has_bound:
        score = model.log_prob if can.has_log_prob else model.log_prob_bound
        with torch.no_grad(), evaluating(model):
            score(x)
            kind = "densities" if can.has_log_prob else "one-draw bounds"
            values.append((f"time for 1000 {kind}", "CPU s", _seconds(lambda: score(x), x), how))
    return [
        Measurement(name, rule.data.name, what, value, unit, "none: a cost", source)
        for what, unit, value, source in values
    ]


def _seconds(call: Callable[[], object], x: Tensor) -> float:
    start = time.process_time()
    call()
    return (time.process_time() - start) * 1000 / len(x)


def _mean(name: str, data: str, quantity: str, values: Tensor, note: str) -> Measurement:
    error = values.std().item() / math.sqrt(len(values))
    source = f"mean over {len(values)} test rows ± standard error; {note}"
    return Measurement(name, data, quantity, values.mean().item(), "nats per row", "", source, error)
