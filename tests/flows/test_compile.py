"""What a density computes is one graph for ``torch.compile``."""

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.flows import MAF, RealNVP


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("make", [RealNVP, MAF])
def test_way_to_the_latent_compiles_without_a_break(make):
    flow, x = make(2), torch.randn(16, 2)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1 * torch.randn_like(p))

    def latent(x):
        return flow.transform().inverse_and_ladj(x)

    compiled = torch.compile(latent, fullgraph=True, backend="aot_eager")
    for ours, plain in zip(compiled(x), latent(x), strict=True):
        assert_close(ours, plain)
    torch._dynamo.reset()
