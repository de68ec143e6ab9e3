"""Networks as plain ``nn.Module``s: conditioners, encoders, decoders, critics."""

from pyro_dgm.nets.burda import burda_decoder, burda_encoder
from pyro_dgm.nets.conv_critic import ConvCritic
from pyro_dgm.nets.conv_decoder import ConvDecoder
from pyro_dgm.nets.conv_encoder import ConvEncoder
from pyro_dgm.nets.layer_parameters import LayerParameters
from pyro_dgm.nets.lecture import lecture_critic, lecture_decoder, lecture_encoder
from pyro_dgm.nets.masked_mlp import MaskedMLP
from pyro_dgm.nets.mlp import MLP
from pyro_dgm.nets.mlp_critic import MLPCritic
from pyro_dgm.nets.mlp_decoder import MLPDecoder
from pyro_dgm.nets.mlp_encoder import MLPEncoder
from pyro_dgm.nets.norm import norm_layer
from pyro_dgm.nets.potential import OTPotential

__all__ = [
    "MLP",
    "ConvCritic",
    "ConvDecoder",
    "ConvEncoder",
    "LayerParameters",
    "MLPCritic",
    "MLPDecoder",
    "MLPEncoder",
    "MaskedMLP",
    "OTPotential",
    "burda_decoder",
    "burda_encoder",
    "lecture_critic",
    "lecture_decoder",
    "lecture_encoder",
    "norm_layer",
]
