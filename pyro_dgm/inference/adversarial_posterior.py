"""Learn to draw from the posterior of a simulator by a game."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Adam

from pyro_dgm.inference.implicit_posterior import ImplicitPosterior
from pyro_dgm.inference.linear_trend import LinearTrend
from pyro_dgm.inference.program import Program
from pyro_dgm.inference.simulations import Simulations
from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.models.generative_model import seeded
from pyro_dgm.nets import MLP, ConditionalGenerator, JointCritic
from pyro_dgm.objectives import R1, R2, Adversarial
from pyro_dgm.training import fit

__all__ = ["adversarial_posterior"]


def adversarial_posterior(
    simulator: Callable[..., Any],
    *args: Any,
    observed: str | Sequence[str],
    latent: str | Sequence[str] | None = None,
    simulations: Mapping[str, Tensor] | None = None,
    num_simulations: int = 10_000,
    generator: nn.Module | None = None,
    noise_dim: int | None = None,
    critic: nn.Module | None = None,
    game: Callable[[nn.Module, nn.Module], Adversarial] | None = None,
    steps: int = 5000,
    batch_size: int = 256,
    seed: int = 0,
    chunk: int = 1000,
    vectorize: bool = True,
    progress: bool = False,
    **fit_options: Any,
) -> ImplicitPosterior:
    r"""Train a sampler :math:`z = g(\epsilon, x)` until a critic cannot tell its pairs from simulated ones.

    .. math:: (g(\epsilon, x), x), \quad \epsilon \sim N(0, I), \quad x \sim p(x)
              \qquad \text{against} \qquad (z, x) \sim p(z)\, p(x | z)

    The two laws agree exactly if that of :math:`g(\epsilon, x)` is the posterior of almost every x. Neither
    the simulator nor the posterior needs a density, and the sampler needs no inverse: it is any network. The
    price is a game in place of a minimum; where a flow will do,
    :func:`~pyro_dgm.inference.neural_posterior` is more exact, and comes with a density.

    What a linear regression of the latents on the data explains is taken away before the game and given back
    to the draws: a critic is slow to see that the mean of a narrow posterior lags behind the data. Both
    players have to do with the residuals, which say as much, since the data stand beside them.

    Args:
        simulator: A Pyro model that samples latents and data.
        *args: Its arguments.
        observed: Name, or names, of the sites that will be data, sampled or deterministic.
        latent: Name, or names, of the sites whose posterior is wanted; all other sampled ones by default.
        simulations: Values ``(n, *site)`` of all these sites from runs made before; the simulator is then
            run once only, to see its sites.
        num_simulations: Number of runs of the simulator to learn from, where they are still to be made.
        generator: The network g: of noise ``(n, noise_dim)`` and standardised data ``(n, C)``, to
            residuals of unbounded vectors of the latents ``(n, D)``. By default two hidden layers.
        noise_dim: Size of the noise; by default twice that of the latents, and at least four.
        critic: Scores such residuals given standardised data: ``(n, D)`` and ``(n, C)`` to ``(n,)``.
        game: ``game(model, critic)`` returns the objective; by default the non-saturating game with both
            slopes flattened and averaged weights.
        steps: Number of updates of the critic.
        batch_size: Rows of each batch.
        seed: Seed of the simulations, of the weights and of training; the global random state is left alone.
        chunk: Simulations made at a time.
        vectorize: Whether the simulator may run once for many draws.
        progress: Whether to show a progress bar.
        **fit_options: Further options of :func:`~pyro_dgm.training.fit`.

    Raises:
        UnknownNameError: If the simulator has no such site.
        ShapeError: If simulations made before do not have the shapes of their sites.
        DataError: If there are too few simulations, or values are not finite, discrete or outside supports.

    Reference:
        Ramesh et al., GATSBI: Generative Adversarial Training for Simulation-Based Inference, ICLR 2022.
        https://arxiv.org/abs/2203.06481
        Mescheder, Nowozin and Geiger, Adversarial Variational Bayes: Unifying Variational Autoencoders and
        Generative Adversarial Networks, ICML 2017. https://arxiv.org/abs/1701.04722

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> def simulator():
        ...     z = pyro.sample("z", dist.HalfNormal(1.0))
        ...     pyro.sample("x", dist.Normal(z, 0.1))
        >>> posterior = adversarial_posterior(simulator, observed="x", num_simulations=100, steps=2)
        >>> posterior.sample(torch.tensor(0.5), 7)["z"].shape, posterior.capabilities.has_log_prob
        (torch.Size([7]), False)
    """
    with seeded(seed):
        program = Program(simulator, *args, chunk=chunk, vectorize=vectorize)
        made = Simulations.of(program, observed, latent, num=num_simulations, made=simulations)
        dim, context_dim = made.layout.dim, made.observed.dim
        noise_dim = max(4, 2 * dim) if noise_dim is None else noise_dim
        if generator is None:
            generator = ConditionalGenerator(MLP(noise_dim + context_dim, dim))
        if critic is None:
            critic = JointCritic(MLP(dim + context_dim, 1))
        model = ImplicitGenerator(generator.to(made.latents), noise_dim, data_shape=(dim,))
        objective = (game or _default)(model, critic.to(made.latents))
        rows, context = made.standardised()
        trend = LinearTrend.of(rows, context)
    history = fit(
        objective,
        (trend.remove(rows, context), context),
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
        **fit_options,
    )
    trained = objective.averaged
    assert isinstance(trained, ImplicitGenerator)
    return ImplicitPosterior(trained.requires_grad_(False).eval(), made, trend, history)


def _default(model: nn.Module, critic: nn.Module) -> Adversarial:
    # Five times the usual rate of images, at which 5 000 updates are too few.
    of_model, of_critic = (
        Adam(player.parameters(), lr=1e-3, betas=(0.0, 0.99), fused=True) for player in (model, critic)
    )
    return Adversarial(model, critic, (of_model, of_critic), regularisers=[R1(0.1), R2(0.1)], average=0.999)
