"""The same flows as an expert writes them by hand in PyTorch: no library, rows of data, no distributions."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad, softplus

from benchmarks.flows.contender import BINS, BOUND, HIDDEN, LAYERS, Contender

__all__ = ["make"]


def make(family: str, dim: int) -> Contender:
    """Return the flow of a family."""
    kind = {"real-nvp": _Affine, "spline": _Spline, "maf": _Masked, "iaf": _Masked, "planar": _Planar}[family]
    module = nn.ModuleList(kind(dim, i) for i in range(LAYERS[family]))
    draws_in_one_pass = family in ("iaf", "planar")

    def log_prob(x: Tensor) -> Tensor:
        total: Tensor | float = 0.0
        for layer in reversed(module):
            x, ladj = layer.sequential(x) if draws_in_one_pass else layer.parallel(x)
            total = total + ladj
        return total - 0.5 * x.square().sum(-1) - 0.5 * dim * math.log(2 * math.pi)

    def rsample_and_log_prob(n: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(n, dim)
        log_q = -0.5 * x.square().sum(-1) - 0.5 * dim * math.log(2 * math.pi)
        for layer in module:
            x, ladj = layer.parallel(x) if draws_in_one_pass else layer.sequential(x)
            log_q = log_q - ladj
        return x, log_q

    return Contender(module, log_prob, lambda n: rsample_and_log_prob(n)[0], rsample_and_log_prob)


def _mlp(*sizes: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for before, after in pairwise(sizes):
        parts += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


class _Halves(nn.Module):
    outputs = 2

    def __init__(self, dim: int, i: int) -> None:
        super().__init__()
        self.half, self.turn = dim // 2, i % 2 == 1
        kept, changed = (dim - self.half, self.half) if self.turn else (self.half, dim - self.half)
        self.net = _mlp(kept, *HIDDEN, self.outputs * changed)

    def parallel(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._change(x, inverse=True)

    def sequential(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._change(x, inverse=False)

    def _change(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        left, right = x[:, : self.half], x[:, self.half :]
        kept, changed = (right, left) if self.turn else (left, right)
        changed, ladj = self.elementwise(changed, self.net(kept), inverse)
        return torch.cat((changed, kept) if self.turn else (kept, changed), 1), ladj.sum(-1)


class _Affine(_Halves):
    def elementwise(self, x: Tensor, parameters: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        shift, raw = parameters.chunk(2, -1)
        log_scale = 3.0 * torch.tanh(raw / 3.0)
        if inverse:
            return (x - shift) * torch.exp(-log_scale), -log_scale
        return x * log_scale.exp() + shift, log_scale


class _Spline(_Halves):
    outputs = 3 * BINS - 1

    def elementwise(self, x: Tensor, parameters: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        raw = parameters.view(*x.shape, -1)  # bins last, as everybody writes it
        xs, ys = (self._knots(part) for part in (raw[..., :BINS], raw[..., BINS : 2 * BINS]))
        ds = pad(softplus(raw[..., 2 * BINS :]) + 1e-3, (1, 1), value=1.0)
        inside = (x > -BOUND) & (x < BOUND)
        at = torch.searchsorted((ys if inverse else xs)[..., 1:-1].contiguous(), x.unsqueeze(-1))
        x0, x1, y0, y1, d0, d1 = (
            t.gather(-1, at + k).squeeze(-1)
            for t, k in ((xs, 0), (xs, 1), (ys, 0), (ys, 1), (ds, 0), (ds, 1))
        )
        w, h = x1 - x0, y1 - y0
        s, value = h / w, torch.where(inside, x, 0.0)
        bend = d0 + d1 - 2 * s
        if inverse:
            rise = value - y0
            b = h * d0 - rise * bend
            a = h * (s - d0) + rise * bend
            xi = 2 * s * rise / (b + torch.sqrt(b.square() + 4 * a * s * rise))
            out = x0 + xi * w
        else:
            xi = (value - x0) / w
            out = y0 + h * (s * xi.square() + d0 * xi * (1 - xi)) / (s + bend * xi * (1 - xi))
        slope = d1 * xi.square() + 2 * s * xi * (1 - xi) + d0 * (1 - xi).square()
        ladj = torch.log(s.square() * slope) - 2 * torch.log(s + bend * xi * (1 - xi))
        ladj = torch.where(inside, -ladj if inverse else ladj, 0.0)
        return torch.where(inside, out, x), ladj

    @staticmethod
    def _knots(raw: Tensor) -> Tensor:
        share = 1e-3 + (1 - 1e-3 * BINS) * torch.softmax(raw, -1)
        return pad(share.cumsum(-1), (1, 0)) * (2 * BOUND) - BOUND


class _Masked(nn.Module):
    def __init__(self, dim: int, i: int) -> None:
        super().__init__()
        self.dim, self.turn = dim, i % 2 == 1
        sizes = [dim, *HIDDEN]
        degrees = [torch.arange(dim)] + [torch.arange(width) % max(1, dim - 1) for width in HIDDEN]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([*sizes, 2 * dim]))
        masks = [after[:, None] >= before for before, after in pairwise(degrees)]
        masks.append((degrees[0][:, None] > degrees[-1]).repeat(2, 1))
        for k, mask in enumerate(masks):
            self.register_buffer(f"mask_{k}", mask.float())

    def parallel(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.flip(-1) if self.turn else x
        shift, log_scale = self._shift_and_log_scale(x)
        y = (x - shift) * torch.exp(-log_scale)
        return (y.flip(-1) if self.turn else y), -log_scale.sum(-1)

    def sequential(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.flip(-1) if self.turn else x
        y = torch.zeros_like(x)
        for _ in range(self.dim):  # as everybody writes it: a full pass for each coordinate
            shift, log_scale = self._shift_and_log_scale(y)
            y = x * log_scale.exp() + shift
        return (y.flip(-1) if self.turn else y), log_scale.sum(-1)

    def _shift_and_log_scale(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for k, layer in enumerate(self.layers):
            x = linear(x if k == 0 else x.relu(), layer.weight * getattr(self, f"mask_{k}"), layer.bias)
        shift, raw = x.chunk(2, -1)
        return shift, 3.0 * torch.tanh(raw / 3.0)


class _Planar(nn.Module):
    def __init__(self, dim: int, i: int) -> None:
        super().__init__()
        self.u, self.w = nn.Parameter(torch.randn(dim)), nn.Parameter(torch.randn(dim))
        self.b = nn.Parameter(torch.zeros(()))

    def parallel(self, x: Tensor) -> tuple[Tensor, Tensor]:
        dot = self.u @ self.w
        u = self.u + (softplus(dot) - 1 - dot) * self.w / self.w.square().sum()
        h = torch.tanh(x @ self.w + self.b)
        return x + h.unsqueeze(-1) * u, torch.log1p((1 - h.square()) * (u @ self.w))

    def sequential(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("a plain planar layer has no closed inverse")
