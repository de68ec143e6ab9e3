"""Networks as plain modules: conditioners, encoders, decoders, critics."""

from pyro_dgm.nets.burda import burda_decoder, burda_encoder
from pyro_dgm.nets.concatsquash_velocity import ConcatSquashVelocity
from pyro_dgm.nets.conditional import AuxiliaryCritic, ConditionalGenerator, JointCritic, ProjectionCritic
from pyro_dgm.nets.conv_conditioner import ConvConditioner
from pyro_dgm.nets.conv_critic import ConvCritic
from pyro_dgm.nets.conv_decoder import ConvDecoder
from pyro_dgm.nets.conv_encoder import ConvEncoder
from pyro_dgm.nets.dcgan import DCGANCritic, DCGANGenerator
from pyro_dgm.nets.image_classifier import ImageClassifier
from pyro_dgm.nets.layer_parameters import LayerParameters
from pyro_dgm.nets.lecture import lecture_critic, lecture_decoder, lecture_encoder
from pyro_dgm.nets.masked_mlp import MaskedMLP
from pyro_dgm.nets.minibatch_discrimination import MinibatchDiscrimination
from pyro_dgm.nets.mlp import MLP
from pyro_dgm.nets.mlp_critic import MLPCritic
from pyro_dgm.nets.mlp_decoder import MLPDecoder
from pyro_dgm.nets.mlp_encoder import MLPEncoder
from pyro_dgm.nets.mlp_velocity import MLPVelocity
from pyro_dgm.nets.norm import norm_layer
from pyro_dgm.nets.planar_velocity import PlanarVelocity
from pyro_dgm.nets.potential import OTPotential
from pyro_dgm.nets.potential_velocity import PotentialVelocity
from pyro_dgm.nets.resnet import ResNetCritic, ResNetGenerator
from pyro_dgm.nets.slow_linear import SlowLinear
from pyro_dgm.nets.spectral import with_spectral_norm
from pyro_dgm.nets.velocity import ModuleVelocity, Velocity
from pyro_dgm.nets.virtual_batch_norm import VirtualBatchNorm, WithReference

__all__ = [
    "MLP",
    "AuxiliaryCritic",
    "ConcatSquashVelocity",
    "ConditionalGenerator",
    "ConvConditioner",
    "ConvCritic",
    "ConvDecoder",
    "ConvEncoder",
    "DCGANCritic",
    "DCGANGenerator",
    "ImageClassifier",
    "JointCritic",
    "LayerParameters",
    "MLPCritic",
    "MLPDecoder",
    "MLPEncoder",
    "MLPVelocity",
    "MaskedMLP",
    "MinibatchDiscrimination",
    "ModuleVelocity",
    "OTPotential",
    "PlanarVelocity",
    "PotentialVelocity",
    "ProjectionCritic",
    "ResNetCritic",
    "ResNetGenerator",
    "SlowLinear",
    "Velocity",
    "VirtualBatchNorm",
    "WithReference",
    "burda_decoder",
    "burda_encoder",
    "lecture_critic",
    "lecture_decoder",
    "lecture_encoder",
    "norm_layer",
    "with_spectral_norm",
]
