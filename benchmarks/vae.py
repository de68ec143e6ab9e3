"""What a training step and an evaluation of a VAE cost: ``python -m benchmarks.vae``.

The VAE of Pyro's tutorial on random binary images, 784-400-50 and back with softplus, batch 64, one thread,
CPU time, all in one interleaved run:

* ``fit``: :class:`pyro_dgm.models.VAE` through :func:`pyro_dgm.training.fit`, with its history and guards;
* ``plain``: a hand-written PyTorch loop over the same networks with the same optimiser, fused Adam;
* ``SVI``: the same networks as Pyro's tutorial writes them, with ``pyro.optim.Adam`` and ``Trace_ELBO``.

Then the same ten steps with replayed noise in all three, and the importance-sampled log-likelihood of images:
``pyro_dgm.metrics.importance_log_likelihood`` against a loop over samples, each a pass of guide and model.
Prints the ratios beside their bars, and exits with 1 if one is missed.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.interleaved import interleaved, ratio_line
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.metrics import importance_log_likelihood
from pyro_dgm.models import VAE
from pyro_dgm.nets import MLPDecoder, MLPEncoder
from pyro_dgm.nets.products import linear
from pyro_dgm.training import fit

ROWS, BATCH, STEPS, LATENT = 6_400, 64, 100, 50
IMAGES, SAMPLES, LOOPED = 1_000, 5_000, 40


def networks() -> tuple[MLPEncoder, MLPDecoder]:
    """The networks of Pyro's tutorial."""
    encoder = MLPEncoder((784,), LATENT, (400,), activation=nn.Softplus)
    return encoder, MLPDecoder(LATENT, (784,), (400,), activation=nn.Softplus)


def our_vae(encoder: MLPEncoder, decoder: MLPDecoder) -> VAE:
    """The library's model with copies of these networks."""
    guide = AmortizedNormal(copy.deepcopy(encoder))
    return VAE(copy.deepcopy(decoder), LATENT, guide=guide)


class TutorialVAE(nn.Module):
    """The model and the guide of https://pyro.ai/examples/vae.html, over probabilities."""

    def __init__(self, encoder: MLPEncoder, decoder: MLPDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = copy.deepcopy(encoder), copy.deepcopy(decoder)

    def model(self, x: Tensor) -> None:
        """Score the rows."""
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            z_loc = x.new_zeros(torch.Size((x.shape[0], LATENT)))
            z_scale = x.new_ones(torch.Size((x.shape[0], LATENT)))
            z = pyro.sample("latent", dist.Normal(z_loc, z_scale).to_event(1))
            loc_img = torch.sigmoid(self.decoder(z))
            pyro.sample("obs", dist.Bernoulli(loc_img, validate_args=False).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        """Draw the latents."""
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            loc, logvar = self.encoder(x)
            pyro.sample("latent", dist.Normal(loc, (0.5 * logvar).exp()).to_event(1))


def plain_step(encoder: MLPEncoder, decoder: MLPDecoder) -> Callable[[Tensor], float]:
    """A step as an expert writes it: no distributions, no handlers."""
    encode, decode = copy.deepcopy(encoder.mlp.layers), copy.deepcopy(decoder.mlp.layers)
    optimiser = torch.optim.Adam([*encode.parameters(), *decode.parameters()], lr=1e-3, fused=True)

    def step(x: Tensor) -> float:
        loc, logvar = encode(x).chunk(2, -1)
        noise = torch.randn_like(loc)
        z = loc + (0.5 * logvar).exp() * noise
        reconstruction = binary_cross_entropy_with_logits(decode(z), x, reduction="sum")
        divergence = 0.5 * (z.square() - noise.square() - logvar).sum()
        loss = (reconstruction + divergence) / len(x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def over_epoch(step: Callable[[Tensor], object], rows: Tensor) -> Callable[[], None]:
    """One pass of a step over the rows."""

    def epoch() -> None:
        for index in torch.randperm(ROWS).split(BATCH):
            step(rows[index])

    return epoch


def ten_losses(step: Callable[[Tensor], float], rows: Tensor) -> Tensor:
    """The losses of ten steps, each from a random state of its own."""
    losses = []
    for number, x in enumerate(rows.split(BATCH)[:10]):
        torch.manual_seed(number)
        losses.append(step(x))
    return torch.tensor(losses, dtype=torch.double)


def fit_losses(vae: VAE, rows: Tensor) -> Tensor:
    """The same through ``fit``, whose noise is set before each step."""

    class Replayed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            from pyro_dgm.objectives import ELBO

            self.elbo, self.number = ELBO(vae), 0

        def forward(self, batch: object) -> Tensor:
            torch.manual_seed(self.number)
            self.number += 1
            return self.elbo(rows[BATCH * (self.number - 1) : BATCH * self.number])

    history = fit(Replayed(), rows, steps=10, batch_size=BATCH, clip=None, progress=False)
    return torch.from_numpy(history.losses)


def looped_log_likelihood(model: TutorialVAE, x: Tensor, num_samples: int) -> Tensor:
    """The estimate as one writes it with Pyro: a pass of guide and model for each sample."""
    weights = []
    with torch.no_grad():
        for _ in range(num_samples):
            guide_trace = poutine.trace(model.guide).get_trace(x)
            model_trace = poutine.trace(poutine.replay(model.model, trace=guide_trace)).get_trace(x)
            for trace in (guide_trace, model_trace):
                trace.compute_log_prob()
            joint = sum(model_trace.nodes[name]["log_prob"] for name in ("latent", "obs"))
            weights.append(joint - guide_trace.nodes["latent"]["log_prob"])
    return torch.stack(weights).logsumexp(0) - torch.tensor(num_samples).log()


def training_cost(rows: Tensor) -> list[str]:
    """Time the three, and return the lines with their verdicts."""
    encoder, decoder = networks()
    vae, tutorial = our_vae(encoder, decoder), TutorialVAE(encoder, decoder)
    svi = SVI(tutorial.model, tutorial.guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
    options = {"batch_size": BATCH, "lr": 1e-3, "clip": None, "progress": False}
    work = {
        "fit": lambda: fit(vae, rows, epochs=1, **options),
        "plain": over_epoch(plain_step(encoder, decoder), rows),
        "SVI": over_epoch(svi.step, rows),
    }
    seconds = interleaved(work, rounds=7, repeats=1)
    lines = [
        f"{name:>10}: {1e3 * sorted(values)[len(values) // 2] / STEPS:.3f} ms of CPU a step"
        for name, values in seconds.items()
    ]
    lines.append(ratio_line(seconds, "fit", "SVI", 0.60)[0])
    lines.append(ratio_line(seconds, "fit", "plain", 1.30)[0])
    return lines


def agreement(rows: Tensor) -> list[str]:
    """Ten steps of the three with the same noise."""
    pyro.clear_param_store()
    encoder, decoder = networks()
    tutorial = TutorialVAE(encoder, decoder)
    svi = SVI(tutorial.model, tutorial.guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
    ours = fit_losses(our_vae(encoder, decoder), rows)
    lines = []
    for name, step in {
        "plain": plain_step(encoder, decoder),
        "SVI": lambda x: svi.step(x) / len(x),
    }.items():
        worst = ((ten_losses(step, rows) - ours) / ours).abs().max().item()
        verdict = "met" if worst <= 1e-4 else "MISSED"
        lines.append(f"losses of fit and {name}: relative difference {worst:.1e}, bar 1e-04: {verdict}")
    return lines


def evaluation_cost(rows: Tensor) -> list[str]:
    """Time the importance-sampled log-likelihood against the loop, each on fewer samples, scaled up."""
    encoder, decoder = networks()
    vae, tutorial, x = our_vae(encoder, decoder), TutorialVAE(encoder, decoder), rows[:IMAGES]

    def products() -> None:
        with torch.no_grad():
            for _ in range(LOOPED):
                z = torch.randn(IMAGES, LATENT)
                for layer in decoder.mlp.layers[::2]:
                    z = linear(z, layer.weight, layer.bias)

    few = SAMPLES // 10
    seconds = interleaved(
        {
            "loop": lambda: looped_log_likelihood(tutorial, x, LOOPED),
            "ours": lambda: importance_log_likelihood(vae, x[: IMAGES // 10], num_samples=few, seed=0),
            "large blocks": lambda: importance_log_likelihood(
                vae, x[: IMAGES // 10], num_samples=few, chunk=4096, seed=0
            ),
            "products": products,
        },
        rounds=7,
        repeats=1,
    )
    scale = {"loop": SAMPLES / LOOPED, "ours": 100, "large blocks": 100, "products": SAMPLES / LOOPED}
    cost = {name: scale[name] * sorted(values)[3] for name, values in seconds.items()}
    ratio, most = cost["loop"] / cost["ours"], cost["loop"] / cost["products"]
    return [
        f"log p of {IMAGES} images with {SAMPLES} samples (scaled from fewer): {cost['ours']:.1f} CPU s, in "
        f"blocks of 4096 rows {cost['large blocks']:.1f} CPU s; loop over samples {cost['loop']:.1f} CPU s",
        f"loop / ours: {ratio:.2f}, bar at least 5: {'met' if ratio >= 5 else 'MISSED'}; the decoder's "
        f"products alone take {cost['products']:.1f} CPU s, which would be {most:.2f}",
    ]


def main() -> int:
    """Run the benchmark and print its figures."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = torch.bernoulli(torch.rand(784).expand(ROWS, 784))
    lines = [*training_cost(rows), *agreement(rows), *evaluation_cost(rows)]
    print(
        f"VAE 784-400-{LATENT}, batch {BATCH}, torch {torch.__version__}, pyro {pyro.__version__}, one thread"
    )
    print(*lines, sep="\n")
    return 1 if any("MISSED" in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
