"""Numbers kept as tensors: one of each, and none that another context has made."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pyro_dgm.transforms.scalars import scalar


def test_a_number_is_kept_in_each_dtype():
    like = torch.zeros(3)
    assert scalar(0.25, like) is scalar(0.25, like)
    assert scalar(0.25, like).dtype == torch.float32
    assert scalar(0.25, like.double()).dtype == torch.double
    assert (like + scalar(0.25, like)).tolist() == [0.25] * 3
    assert scalar(0.25, like).dim() == 0


def test_numbers_first_asked_for_elsewhere_serve_training_too():
    with torch.inference_mode():
        scalar(0.375, torch.zeros(3))
    x = torch.ones(3, requires_grad=True)
    (x * scalar(0.375, x)).sum().backward()
    assert x.grad.tolist() == [0.375] * 3
    with torch.device("meta"):
        scalar(0.4375, torch.zeros(3))
    assert scalar(0.4375, x).device.type == "cpu"
    with FakeTensorMode():
        scalar(0.625, torch.zeros(3))
    assert type(scalar(0.625, x)) is torch.Tensor
