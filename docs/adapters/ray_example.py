"""Ray Train runs fit, and a plain loop, on two workers: the objective is that of any other run."""

import sys
import tempfile
from pathlib import Path

import ray
import ray.train
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model

from pyro_dgm.flows import RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.objectives import ELBO
from pyro_dgm.training import fit, read_extra, save

ROWS = 500


def rows() -> torch.Tensor:
    return 2 + 0.5 * torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(1), dtype=torch.double)


def objective() -> ELBO:
    torch.manual_seed(0)  # all workers begin with the same weights
    return ELBO(NormalizingFlow(RealNVP(2, num_layers=4, hidden_dims=(32,)))).double()


def with_fit(config: dict) -> None:
    """What each worker does: fit joins the others, and the first one writes checkpoints."""
    torch.set_num_threads(1)
    loss = objective()
    history = fit(
        loss,
        rows(),
        steps=config["steps"],
        batch_size=100,
        lr=1e-2,
        checkpoint=Path(config["folder"]) / "checkpoints",
        resume=True,
        progress=False,
    )
    result = {"loss": float(history.losses[-1]), "workers": ray.train.get_context().get_world_size()}
    if ray.train.get_context().get_world_rank() == 0:
        save(Path(config["folder"]) / "fit", loss.model, extra=result)
    ray.train.report(result)


def with_a_plain_loop(config: dict) -> None:
    """The same objective under a loop of one's own, with Ray's wrapper for its gradients."""
    torch.set_num_threads(1)
    rank, size = ray.train.get_context().get_world_rank(), ray.train.get_context().get_world_size()
    loss = objective()
    shared = prepare_model(loss)
    optimizer = torch.optim.Adam(shared.parameters(), lr=1e-2)
    data = rows()
    for step in range(config["steps"]):
        generator = torch.Generator().manual_seed(step)
        own = torch.randperm(ROWS, generator=generator)[:100][rank::size]  # equal shares of one batch
        optimizer.zero_grad()
        value = shared(data[own])
        value.backward()
        optimizer.step()
    result = {"loss": value.item(), "workers": size}
    if rank == 0:
        save(Path(config["folder"]) / "loop", loss.model, extra=result)
    ray.train.report(result)


def main(folder: str | Path, steps: int = 100) -> dict[str, dict]:
    """Run both, with two workers each; return what the first worker has saved beside the weights."""
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
    try:
        for name, train in {"fit": with_fit, "loop": with_a_plain_loop}.items():
            trainer = TorchTrainer(
                train,
                train_loop_config={"folder": str(folder), "steps": steps},
                scaling_config=ScalingConfig(num_workers=2, use_gpu=False),
                run_config=RunConfig(storage_path=str(folder), name=f"ray-{name}"),
            )
            trainer.fit()
        return {name: read_extra(Path(folder) / name) for name in ("fit", "loop")}
    finally:
        ray.shutdown()


if __name__ == "__main__":
    print(main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
