"""The single figures of a verdict on a posterior, each beside its limit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from pyro.ops.stats import effective_sample_size, split_gelman_rubin
from torch import Tensor

from pyro_dgm.diagnostics import LeaveOneOut, leave_one_out, psis
from pyro_dgm.diagnostics.audit_report import Check, Verdict
from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.inference.draws_of import PosteriorDraws
from pyro_dgm.inference.importance_draws import ImportanceDraws
from pyro_dgm.inference.program import Program
from pyro_dgm.metrics import importance_log_likelihood

__all__ = ["draw_checks", "left_out_check", "row_checks"]

_AGREE, _ROWS = "good < 1.01, bad > 1.05", "good < 0.01, bad > 0.1"
_TAIL = "good < 0.5, usable < 0.7"
_NEEDED = 100  # independent draws, with which a mean is known to a tenth of a standard deviation


def draw_checks(drawn: PosteriorDraws) -> Iterator[Check]:
    """Judge draws by their weights if they have any, and by their chains if not."""
    if drawn.importance is not None:
        yield from _of_weights(drawn.importance)
        return
    if drawn.shape[0] < 2 and drawn.diverging is None:  # no chains of MCMC: draws from somewhere
        need = "needs weights: give the guide with its model, or importance draws, instead of its draws"
        yield _missing("k_hat", "k-hat of the weights", need, "whether the draws miss part of the posterior")
    yield from _of_chains(drawn)


def _of_weights(drawn: ImportanceDraws) -> Iterator[Check]:
    found = psis(drawn.log_weights)
    k, size = found.k.item(), len(drawn.log_weights)
    yield _tail(k, size)
    ess = found.effective_sample_size.item()
    note = f"independent draws that the {size} weighted ones are worth"
    yield _at_least("ess", "effective draws", ess, note)
    gap = round(drawn.log_evidence - drawn.elbo, 9) + 0.0  # without the rounding of an exact guide
    note = f"nats, 0 for an exact guide: evidence {drawn.log_evidence:.3f}, ELBO {drawn.elbo:.3f}"
    yield Check("gap", "evidence above the ELBO", gap, "", "no limit", note=note)
    if drawn.samples and k <= 0.7:
        yield _shift(drawn, found.log_weights.exp())


def _tail(k: float, size: int) -> Check:
    """Judge the tail of importance weights by its Pareto shape."""
    verdict: Verdict = "pass" if k <= 0.5 else "not decided" if k <= 0.7 else "FAIL"
    finding = (
        "all its weights are equal"
        if k == -math.inf
        else f"k-hat is {k:.2f}"
        if k <= 0.5
        else f"k-hat is {k:.2f}, so take means corrected by the weights, as importance_draws gives them"
        if k <= 0.7
        else f"k-hat is {k:.2f}: it misses part of the posterior, which weights cannot mend; train longer, "
        "give it a richer flow, or run NUTS"
    )
    note = f"how heavy the tail of the {size} weights p(x, z) / q(z) is"
    return Check("k_hat", "k-hat of the weights", k, _TAIL, verdict, note=note, finding=finding)


def _shift(drawn: ImportanceDraws, weights: Tensor) -> Check:
    """How far the weights move any mean, in standard deviations of the posterior."""
    worst, where = 0.0, ""
    for name, draws in drawn.samples.items():
        flat = draws.double().reshape(len(draws), -1)
        mean = weights.double() @ flat
        sd = (weights.double() @ (flat - mean).square()).sqrt().clamp_min(1e-30)
        moved = ((flat.mean(0) - mean) / sd).abs()
        if moved.max().item() > worst:
            worst, where = (
                moved.max().item(),
                f"{name}, entry {int(moved.argmax())}" if len(mean) > 1 else name,
            )
    worst = round(worst, 9)
    verdict: Verdict = "pass" if worst < 0.2 else "not decided"
    finding = (
        f"means are off by {'less than ' if worst < 0.2 else ''}{max(worst, 0.2):.2g} standard deviations"
    )
    note = f"largest move of a mean by the weights, in posterior standard deviations: {where or 'none'}"
    return Check("shift", "shift of the means", worst, "< 0.2", verdict, note=note, finding=finding)


def _of_chains(drawn: PosteriorDraws) -> Iterator[Check]:
    chains, length = drawn.shape
    flat = [draws.double().reshape(chains, length, -1) for draws in drawn.samples.values()]
    values = torch.cat(flat, -1)
    values = values[..., values.flatten(0, 1).std(0) > 0]
    if chains < 2 or length < 4 or not values.shape[-1]:
        need = f"needs two chains or more, but there {'is one' if chains == 1 else f'are {chains}'}"
        yield _missing("r_hat", "R-hat of the chains", need, "whether chains agree, as there is only one")
    else:
        r_hat = split_gelman_rubin(values, chain_dim=0, sample_dim=1).max().item()
        verdict: Verdict = "pass" if r_hat < 1.01 else "not decided" if r_hat < 1.05 else "FAIL"
        finding = f"R-hat is {r_hat:.3f}" + (
            "" if r_hat < 1.01 else ", so the chains have not met: run them longer"
        )
        note = f"worst entry, {chains} chains of {length}"
        yield Check(
            "r_hat",
            "R-hat of the chains",
            r_hat,
            "good < 1.01, bad > 1.05",
            verdict,
            note=note,
            finding=finding,
        )
    if length >= 4 and values.shape[-1]:
        ess = effective_sample_size(values, chain_dim=0, sample_dim=1).min().item()
        yield _at_least("ess", "effective draws", ess, f"worst entry, of {chains * length} draws")
    if drawn.diverging is not None:
        count = int(drawn.diverging.sum())
        bad: Verdict = "FAIL" if count else "pass"
        finding = f"{count} transitions diverged: a region was left out; reparameterise, or try neutra"
        finding = finding if count else "no transition diverged"
        yield Check("divergences", "divergent transitions", count, "0", bad, finding=finding)


def left_out_check(drawn: PosteriorDraws, program: Program | None) -> Check:
    """How well each datum is predicted from the others."""
    title, lacks = "left-out data (LOO)", "how well it predicts"
    if program is None:
        return _missing("loo", title, "needs the model and its data: trust(posterior, model, *args)", lacks)
    if not program.observed:
        return _missing("loo", title, "needs data, but the model observes nothing: condition it first", lacks)
    if not any(program.batch_shape(name).numel() > 1 for name in program.observed):
        return _missing("loo", title, "needs data that the model scores one by one, in a plate", lacks)
    raw = drawn.importance
    samples = drawn.flat() if raw is None else raw.samples
    try:
        scores = torch.cat([s.flatten(1) for s in program.log_likelihood(samples).values()], 1)
        found = leave_one_out(scores, None if raw is None else raw.log_weights)
    except DataError as error:
        return _missing("loo", title, str(error), lacks)
    return _left_out(title, found)


def _left_out(title: str, found: LeaveOneOut) -> Check:
    bad = int((found.k > 0.7).sum())
    note = f"elpd in nats, {len(found.k)} data; k-hat above 0.7 for {bad} of them"
    verdict: Verdict = "not decided" if bad else "no limit"
    finding = f"{bad} of {len(found.k)} data move the posterior too far to leave them out by weights"
    error = found.standard_error
    return Check("loo", title, found.elpd, "", verdict, error=error, note=note, finding=finding)


def row_checks(
    model: Any, guide: Any, args: tuple[Any, ...], num_samples: int, chunk: int, seed: int | None
) -> Iterator[Check]:
    """Judge a guide whose rows have weights of their own."""
    if not args:
        yield _missing("k_hat", "k-hat of the rows", "needs rows: trust(vae.guide, vae, x)", "anything")
        return
    x, context = args[0], args[1] if len(args) > 1 else None
    options: dict[str, Any] = {"num_samples": num_samples, "context": context, "chunk": chunk, "seed": seed}
    try:
        found = importance_log_likelihood(model, x, guide=guide, **options)
    except (DataError, ShapeError) as error:
        yield Check.impossible("weights", "importance weights", str(error))
        return
    k, rows = found.k_hat, len(found.k_hat)
    bad = (k > 0.7).double().mean().item()
    verdict: Verdict = "pass" if bad <= 0.01 else "not decided" if bad <= 0.1 else "FAIL"
    finding = f"k-hat is above 0.7 in {bad:.1%} of the rows" + (
        "" if verdict == "pass" else ": there the guide misses part of the posterior, and the bound is loose"
    )
    note = f"{rows} rows, {num_samples} draws each; median k-hat {k.median().item():.2f}"
    yield Check("k_hat", "rows with k-hat > 0.7", bad, _ROWS, verdict, note=note, finding=finding)
    middle, least = found.ess.median().item(), found.ess.min().item()
    yield _at_least("ess", "effective draws of a row", middle, f"median; least {least:.1f} of {num_samples}")
    spread = found.standard_error
    note = "nats per row, a lower bound"
    yield Check("evidence", "log-evidence", found.mean, "", "no limit", error=spread, note=note)


def _at_least(key: str, title: str, figure: float, note: str) -> Check:
    verdict: Verdict = "pass" if figure >= _NEEDED else "not decided"
    finding = f"its draws are worth {figure:.0f} independent ones"
    return Check(key, title, figure, f"> {_NEEDED}", verdict, note=note, finding=finding)


def _missing(key: str, title: str, need: str, finding: str) -> Check:
    # Without left-out data a posterior can be judged all the same: they are about the model.
    verdict: Verdict = "no limit" if key == "loo" else "not decided"
    return Check(key, title, float("nan"), "", verdict, note=need, finding=finding)
