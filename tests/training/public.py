"""Every public model, guide and objective, and flows beyond those of the contract, made small."""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceEnum_ELBO
from torch import nn
from torch.nn.functional import one_hot

from pyro_dgm.distributions import NormalMixture
from pyro_dgm.flows import CNF, IAF, MAF, NeuralSplineImage, OTFlow, Planar, RealNVP, RealNVPImage
from pyro_dgm.guides import AmortizedFlow, AmortizedNormal, AutoFlow, GlobalAndLocal, VariationalDequantizer
from pyro_dgm.models import (
    VAE,
    Autoencoder,
    DequantizedFlow,
    ImplicitGenerator,
    InverseProblem,
    LabelGuide,
    NormalizingFlow,
    SemiSupervisedVAE,
)
from pyro_dgm.naming import NamedPyroModule
from pyro_dgm.nets import AuxiliaryCritic, ConditionalGenerator, MLPDecoder, MLPEncoder
from pyro_dgm.objectives import (
    ELBO,
    IWAE,
    R1,
    R2,
    Adversarial,
    AuxiliaryClassifier,
    FeatureMatching,
    FlowMatching,
    GradientPenalty,
    HeldOutCoverage,
    HistoricalAveraging,
    InstanceNoise,
    Watch,
    WeightClipping,
)
from pyro_dgm.plates import data_plate
from tests.training.families import Encoder, flow, gan, unit_normal, vae

TINY = (1, 2, 2)


def net(size_in=2, size_out=2):
    return nn.Sequential(nn.Linear(size_in, 6), nn.Tanh(), nn.Linear(6, size_out))


def small_flow(context_dim=0):
    return RealNVP(2, context_dim, num_layers=2, hidden_dims=(4,))


def rows(n=24):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(5))


def labelled(n=24):
    return rows(n), one_hot(torch.arange(n) % 3, 3).float()


def levels(n=16):
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 2, (n, *TINY), generator=generator).float()


def game(*regularisers, **options):
    critic = nn.Sequential(nn.Linear(2, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1), nn.Flatten(0))
    return Adversarial(ImplicitGenerator(net(), 2), critic, regularisers=regularisers, **options)


def labelled_game():
    critic = AuxiliaryCritic(nn.Sequential(nn.Linear(2, 6), nn.Tanh()), 6, 3)
    model = ImplicitGenerator(ConditionalGenerator(net(2 + 3)), 2, data_shape=(2,))
    return Adversarial(model, critic, regularisers=[AuxiliaryClassifier(1.0)])


def semi_supervised():
    guide = LabelGuide(nn.Linear(2, 3), MLPEncoder((2,), 2, (4,), context_dim=3))
    model = SemiSupervisedVAE(MLPDecoder(2, (2,), (4,), context_dim=3), 2, 3, guide, likelihood=unit_normal)
    return ELBO(model, estimator=TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False))


def dequantized(guide=None):
    image = RealNVPImage(TINY, alpha=0.05, num_levels=1, num_couplings=1, hidden_channels=4, num_blocks=1)
    return DequantizedFlow(image, 2, guide=guide)


def variational():
    flow_of_noise = RealNVPImage(
        TINY, context_channels=1, alpha=0.0, num_levels=1, num_couplings=1, hidden_channels=4
    )
    return VariationalDequantizer(flow_of_noise, num_levels=2)


def stepped():
    image = NeuralSplineImage(TINY, histogram=(3, 1), num_levels=1, num_bins=3, hidden_channels=4)
    return DequantizedFlow(image, 2)


class Regression(NamedPyroModule):
    """A plain Pyro model with a latent that all rows share, as users write them."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(1, 1)

    def forward(self, x, *, size=None, index=None):
        loc = pyro.sample("loc", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        width = 1 + self.scale.bias.square()
        with data_plate(len(x), size, index):
            return pyro.sample("x", dist.Normal(loc, width).to_event(1), obs=x)


def auto_flow():
    model = Regression()
    return ELBO(model, AutoFlow(model, lambda size: RealNVP(size, num_layers=2, hidden_dims=(4,))))


class TwoLevels(NamedPyroModule):
    """A plain Pyro model with a latent that all rows share and one of each row."""

    def forward(self, x, *, size=None, index=None):
        mean = pyro.sample("mean", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        with data_plate(len(x), size, index):
            z = pyro.sample("z", dist.Normal(mean, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)


def global_and_local():
    model = TwoLevels()
    local = AmortizedNormal(MLPEncoder((2,), 2, (4,), context_dim=2), takes_context=True)
    return ELBO(model, GlobalAndLocal(model, local, flow=lambda size: Planar(size, num_layers=2)))


def inverse_problem():
    generator = ImplicitGenerator(net(2, 3), 2)
    problem = InverseProblem(generator, lambda x: x[..., :2], noise=0.5)
    return ELBO(problem, AutoFlow(problem, lambda size: Planar(size, num_layers=2)))


# name -> how to make it, and the data that it trains on (None: drawn from itself)
PUBLIC = {
    "flow": (flow, None),
    "flow with context": (lambda: NormalizingFlow(small_flow(3)), labelled),
    "vae": (vae, None),
    "gan": (gan, None),
    "autoencoder": (lambda: Autoencoder(net(2, 2), net(2, 2), 2, likelihood=unit_normal), rows),
    "semi-supervised vae": (semi_supervised, rows),
    "inverse problem": (inverse_problem, rows),
    "global and local latents": (global_and_local, rows),
    "auto flow": (auto_flow, rows),
    "dequantized": (dequantized, levels),
    "dequantized by a flow": (lambda: dequantized(variational()), levels),
    "stepped": (stepped, levels),
    "vae with a flow as guide": (
        lambda: VAE(
            net(), 2, likelihood=unit_normal, guide=AmortizedFlow(Encoder(), Planar(2, num_layers=2))
        ),
        None,
    ),
    "vae with inverse autoregressive guide and mixture prior": (
        lambda: VAE(
            net(),
            2,
            likelihood=unit_normal,
            prior=NormalMixture(2, 3),
            guide=AmortizedFlow(
                MLPEncoder((2,), 2, (6,), extra_dim=3), IAF(2, context_dim=3, num_layers=1, hidden_dims=(4,))
            ),
        ),
        None,
    ),
    "vae with a flow as prior": (
        lambda: VAE(net(), 2, likelihood=unit_normal, prior=small_flow(), guide=AmortizedNormal(Encoder())),
        None,
    ),
    "iwae": (lambda: IWAE(vae(dtype=torch.float32).model, num_particles=3), None),
    "iwae, standard gradient": (
        lambda: IWAE(vae(dtype=torch.float32).model, num_particles=3, gradient="standard"),
        None,
    ),
    "elbo with warm-up": (
        lambda: ELBO(vae(dtype=torch.float32).model, kl="analytic", warm_up=3, free_bits=0.1),
        None,
    ),
    "flow matching": (lambda: FlowMatching(CNF(2, hidden_dims=(4,), nt_train=2)), None),
    "flow matching, coupled": (
        lambda: FlowMatching(NormalizingFlow(OTFlow(2, width=4, nt_train=2)), coupling="ot"),
        None,
    ),
    "masked flow": (lambda: MAF(2, num_layers=1, hidden_dims=(4,)), None),
    "game with penalties": (lambda: game(GradientPenalty(1.0), R1(0.1), R2(0.1, every=2)), None),
    "wasserstein with clipping": (
        lambda: game(WeightClipping(0.1), loss="wasserstein", critic_steps=2),
        None,
    ),
    "game with noise and memory": (
        lambda: game(InstanceNoise(0.1, steps=3), HistoricalAveraging(0.1), updates="extragradient"),
        None,
    ),
    "game of features": (lambda: game(FeatureMatching("1"), updates="optimistic"), None),
    "watched game": (
        lambda: game(watch=Watch(every=2, held_out=HeldOutCoverage(rows(200)), on_divergence="ignore")),
        None,
    ),
    "game of labels": (labelled_game, labelled),
}
