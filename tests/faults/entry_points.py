"""The public entry points, each as a call with generated arguments and a claim about its answer.

An entry is a function of a :class:`Given`. It calls the library and asserts the shape of what comes back;
what the library refuses, it lets through.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyro_dgm import data, diagnostics, flows, metrics
from pyro_dgm.distributions import GaussianRing, TwoMoons
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.inference import flow_from_samples, to_arviz
from pyro_dgm.models import VAE, ImplicitGenerator, NormalizingFlow
from pyro_dgm.objectives import ELBO, IWAE, Adversarial, FlowMatching
from pyro_dgm.training import fit
from tests.training.families import Encoder, unit_normal


@dataclass
class Given:
    """What hypothesis has drawn.

    Attributes:
        x: Rows of any shape, dtype and kind, with bad values now and then.
        y: Other such rows.
        n: A count: an integer of any sign, a fraction, text, None.
        number: A number, finite or not, or none.
        name: A name that may be misspelt.
        options: Options of ``fit``.
        which: Which of several models, in [0, 1).
    """

    x: Any
    y: Any
    n: Any
    number: Any
    name: str
    options: dict[str, Any]
    which: float


def net(size_in: int, size_out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(size_in, 4), nn.Tanh(), nn.Linear(4, size_out))


def critic() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))


MADE = [
    lambda: flows.RealNVP(2, num_layers=2, hidden_dims=(4,)),
    lambda: flows.MAF(3, num_layers=1, hidden_dims=(4,)),
    lambda: flows.Planar(1, num_layers=2),
    lambda: flows.NeuralSpline(2, num_layers=1, hidden_dims=(4,)),
    lambda: flows.Radial(2, num_layers=2),
    lambda: flows.RealNVP(
        2, num_layers=1, hidden_dims=(4,), support=torch.distributions.constraints.positive
    ),
    lambda: flows.RealNVP(2, context_dim=3, num_layers=1, hidden_dims=(4,)),
    lambda: flows.OTFlow(2, width=4, nt_train=2, nt_eval=2),
]
FLOWS = [make() for make in MADE]
MODELS = [NormalizingFlow(make()) for make in MADE[:6]]


def vae() -> VAE:
    return VAE(net(2, 2), 2, likelihood=unit_normal, guide=AmortizedNormal(Encoder()))


VAES = [vae(), VAE(net(2, 2), 2, guide=AmortizedNormal(Encoder()))]
GAN = ImplicitGenerator(net(2, 2), 2)


def pick(given: Given, things: list[Any]) -> Any:
    return things[int(given.which * len(things))]


def shape_of(x: Any) -> torch.Size:
    return torch.as_tensor(x).shape


def score(given: Given) -> None:
    flow = pick(given, FLOWS)
    context = given.y if flow.context_dim else None
    scores = flow(context).log_prob(given.x)
    batch = given.x.shape[: given.x.dim() - 1]
    wanted = torch.broadcast_shapes(batch, flow(context).batch_shape)
    assert scores.shape == wanted, (scores.shape, wanted)


def draw(given: Given) -> None:
    flow = pick(given, FLOWS)
    d = flow(given.x if flow.context_dim else None)
    assert d.sample(given.n).shape == (*given.n, *d.batch_shape, *flow.event_shape)


def model_scores(given: Given) -> None:
    model = pick(given, MODELS)
    assert model.log_prob(given.x).shape == given.x.shape[:-1]


def model_encodes(given: Given) -> None:
    model = pick(given, MODELS)
    assert model.encode(given.x).shape == given.x.shape


def model_draws(given: Given) -> None:
    for model in (pick(given, MODELS), pick(given, VAES), GAN):
        seed = given.number if isinstance(given.number, int) else None
        drawn = model.sample(given.n, seed=seed)
        assert drawn.shape[0] == given.n
        assert drawn.dim() == 2


def vae_bounds(given: Given) -> None:
    bound = pick(given, VAES).log_prob_bound(given.x, num_particles=given.n)
    assert bound.shape == given.x.shape[:1]


def vae_encodes(given: Given) -> None:
    model = pick(given, VAES)
    assert model.encode(given.x).shape == (len(given.x), 2)
    assert model.reconstruct(given.x).shape == given.x.shape


def objective_measures(given: Given) -> None:
    makers = [
        lambda: ELBO(vae()),
        lambda: IWAE(vae(), num_particles=3),
        lambda: ELBO(pick(given, MODELS)),
        lambda: FlowMatching(FLOWS[7]),
    ]
    assert isinstance(pick(given, makers)().evaluate_loss(given.x), float)


def make_objective(given: Given) -> None:
    things = [vae(), MODELS[0], GAN, FLOWS[0], given.x, None]
    ELBO(pick(given, things), num_particles=given.n)


def flow_is_built(given: Given) -> None:
    names = [
        "RealNVP",
        "MAF",
        "Planar",
        "Radial",
        "NeuralSpline",
        "NICE",
        "Sylvester",
        "IAF",
        "NAF",
        "OTFlow",
    ]
    cls = getattr(flows, pick(given, names))
    arguments = [
        {},
        {"hidden_dims": given.n},
        {"num_layers": given.n},
        {"context_dim": given.n},
        {given.name: 2},
    ]
    flow = cls(given.n if given.which < 0.5 else 2, **arguments[int(7 * given.which) % 5])
    context = torch.zeros(flow.context_dim) if flow.context_dim else None
    assert flow(context).sample((2,)).shape == (2, *flow.event_shape)


def train(given: Given) -> None:
    makers = [
        *[lambda make=make: NormalizingFlow(make()) for make in MADE[:6]],
        vae,
        lambda: Adversarial(ImplicitGenerator(net(2, 2), 2), critic()),
        lambda: FlowMatching(MADE[7]()),
    ]
    objective = pick(given, makers)()
    x = (given.x, given.y) if given.name == "pair" else given.x
    history = fit(objective, x, **{"steps": 2, "progress": False} | given.options)
    assert history.num_steps == 2
    parts = [objective] if isinstance(objective, nn.Module) else [objective.model, objective.critic]
    assert all(bool(p.isfinite().all()) for part in parts for p in part.parameters())


def rows(given: Given) -> None:
    made = data.as_rows(given.x, nan="drop" if given.which < 0.5 else "error")
    assert made.dtype == torch.float32
    assert made.isfinite().all()
    assert made.shape[1:] == shape_of(given.x)[1:]


def levels(given: Given) -> None:
    x = given.x if isinstance(given.x, Tensor) else torch.zeros(2, 2)
    calls = [data.dequantize, data.to_levels, data.quantize, data.level_histogram, data.check_levels]
    answer = pick(given, calls)(x)
    if isinstance(answer, Tensor) and calls[int(given.which * 5)] is not data.level_histogram:
        assert answer.shape == x.shape


def load(given: Given) -> None:
    target = data.load(given.name) if given.which < 0.5 else data.load("moons", noise=given.number)
    assert target.sample(4).shape[0] == 4


METRICS = [
    metrics.energy_distance,
    metrics.mmd,
    metrics.sliced_wasserstein,
    metrics.frechet_distance,
    metrics.kernel_distance,
    metrics.batch_wasserstein,
    metrics.sinkhorn_divergence,
]


def compare_samples(given: Given) -> None:
    extra = {"num_bootstrap": 5} if given.which < 2 / 7 else {}
    estimate = pick(given, METRICS)(given.x, given.y, **extra)
    assert np.isfinite(estimate.value)


def count_modes(given: Given) -> None:
    found = metrics.modes_hit(given.x, given.y, radius=given.number)
    assert 0 <= found.hit <= len(given.y)


def compare_manifolds(given: Given) -> None:
    found = metrics.manifolds(given.x, given.y, k=given.n)
    assert 0 <= found.coverage.value <= 1


def tails(given: Given) -> None:
    assert metrics.tail_index(given.x).shape == given.x.shape[1:]


def smoothed_weights(given: Given) -> None:
    found = diagnostics.psis(given.x)
    assert found.log_weights.shape == given.x.shape
    assert not found.log_weights.isnan().any()


def dimensions(given: Given) -> None:
    estimate = pick(given, [diagnostics.two_nn, diagnostics.levina_bickel])(given.x)
    assert estimate.value == estimate.value


def latents(given: Given) -> None:
    report = diagnostics.latent_report(VAES[0], given.x)
    assert len(report.active) == 2


def known_density(given: Given) -> None:
    d = pick(given, [TwoMoons(0.1), GaussianRing(3, radius=1.0, sd=0.2)])
    assert d.log_prob(given.x).shape == given.x.shape[:-1]


def samples_become_a_prior(given: Given) -> None:
    flow_from_samples({"a": given.x, "b": given.y}, epochs=1, progress=False)


def arviz(given: Given) -> None:
    found = to_arviz({"a": given.x, "b": given.y})
    assert found["posterior"] is not None


ENTRIES = {
    f.__name__: f
    for f in (
        score,
        draw,
        model_scores,
        model_encodes,
        model_draws,
        vae_bounds,
        vae_encodes,
        objective_measures,
        make_objective,
        flow_is_built,
        train,
        rows,
        levels,
        load,
        compare_samples,
        count_modes,
        compare_manifolds,
        tails,
        smoothed_weights,
        dimensions,
        latents,
        known_density,
        samples_become_a_prior,
        arviz,
    )
}


def quietly(call: Any, given: Given) -> None:
    """Call an entry without its warnings."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        call(given)
