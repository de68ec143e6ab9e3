"""Train the classifiers whose features the metrics use.

``python -m benchmarks.pinned_classifier --data-root DIR``

Writes ``pyro_dgm/metrics/weights/digits.safetensors`` and ``mnist.safetensors``, prints their checksums and
accuracies, which belong into ``pyro_dgm/metrics/pinned.py``, and writes
``benchmarks/results/pinned_classifier.md``. New weights are new features: figures of old ones cannot be
compared with theirs.

Each batch holds the grey images and the same binarised at a random level, both shifted by up to a pixel
(28 x 28: two), so that features are sound for grey and for binary samples.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from pyro_dgm import data
from pyro_dgm.data import ImageData
from pyro_dgm.nets import ImageClassifier

ROOT = Path(__file__).parents[1]
EPOCHS = {"digits": 120, "mnist": 8}
WIDTHS = {"digits": 12, "mnist": 16}


def shifted(x: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Images moved by up to ``most`` pixels in both directions, all of a batch alike, with black behind."""
    down, right = torch.randint(-most, most + 1, (2,), generator=generator).tolist()
    padded = nn.functional.pad(x, (most, most, most, most))
    height, width = x.shape[-2:]
    return padded[..., most + down : most + down + height, most + right : most + right + width]


def train(name: str, images: ImageData) -> ImageClassifier:
    """Train a classifier by Adam with a cosine schedule."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    network = ImageClassifier(images.event_shape, width=WIDTHS[name])
    batch, n = 64, len(images.train)
    steps = EPOCHS[name] * (n // batch)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3, weight_decay=1e-5, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    most = 1 if images.event_shape[-1] < 16 else 2
    for step in range(steps):
        if step % (n // batch) == 0:
            order = torch.randperm(n, generator=generator)
        index = order[(step % (n // batch)) * batch :][:batch]
        grey = shifted(images.train[index], most, generator)
        level = 0.3 + 0.4 * torch.rand((), generator=generator)
        x = torch.cat((grey, (grey >= level).float()))
        labels = images.train_labels[index].repeat(2)
        loss = nn.functional.cross_entropy(network(x), labels, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: ImageClassifier, x: Tensor, labels: Tensor) -> float:
    """Share of the images that are classified rightly."""
    found = torch.cat([network(part).argmax(-1) for part in x.split(1000)])
    return (found == labels).double().mean().item()


def main() -> int:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(description="Train the classifiers that metrics use.")
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--only", choices=list(EPOCHS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = ROOT / "benchmarks" / "results" / "pinned_classifier.md"
    lines = [
        f"`python -m benchmarks.pinned_classifier`, torch {torch.__version__}, one thread",
        "",
        "| classifier | parameters | epochs | CPU s | test accuracy, grey | binarised at 0.5 | SHA-256 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in EPOCHS:
        if options.only not in (None, name):
            continue
        images = data.load(name, **({"root": options.data_root} if name == "mnist" else {}))
        assert isinstance(images, ImageData)
        start = time.process_time()
        network = train(name, images)
        seconds = time.process_time() - start
        content = save({key: value.contiguous() for key, value in network.state_dict().items()})
        (ROOT / "pyro_dgm" / "metrics" / "weights" / f"{name}.safetensors").write_bytes(content)
        grey = accuracy(network, images.test, images.test_labels)
        binary = accuracy(network, (images.test >= 0.5).float(), images.test_labels)
        parameters = sum(p.numel() for p in network.parameters())
        lines.append(
            f"| {name} | {parameters:,} | {EPOCHS[name]} | {seconds:.0f} | {grey:.4f} | {binary:.4f} | "
            f"{hashlib.sha256(content).hexdigest()} |"
        )
        print(lines[-1], flush=True)
    if options.only is None:
        results.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
