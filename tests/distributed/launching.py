"""Starting a job of the tests on two processes."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENV = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def launched(launcher, folder, what, seconds=600, job="job"):
    """Run the job on two processes; return what it was and how many seconds it took."""
    port = str(free_port())
    torchrun = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    accelerate = ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--main_process_port", port]
    accelerate += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    chosen = {"torchrun": torchrun, "accelerate": accelerate}[launcher]
    start = time.monotonic()
    done = subprocess.run(
        command(chosen, job, folder, what), capture_output=True, text=True, env=ENV, cwd=ROOT, timeout=seconds
    )
    return done, time.monotonic() - start


def launched_on_two_nodes(folder, what, seconds=600, job="job"):
    """Run the job as on two machines with one process each, which may be started anew; return both."""
    torchrun = ["torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "2"]
    torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--rdzv-id", "7"]
    torchrun += ["--local-addr", "127.0.0.1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # in a store that is shared by all starts, new processes would look for the old ones
    env = ENV | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    nodes = [
        subprocess.Popen(command(torchrun, job, folder, what), env=env, cwd=ROOT, **pipes) for _ in range(2)
    ]
    limit = time.monotonic() + seconds
    try:
        said = [node.communicate(timeout=max(1.0, limit - time.monotonic())) for node in nodes]
    finally:
        for node in nodes:
            node.terminate()  # which ends its process too
        for node in nodes:
            node.wait(60)
    return [
        subprocess.CompletedProcess(node.args, node.returncode, *texts)
        for node, texts in zip(nodes, said, strict=True)
    ]


def command(launcher, job, folder, what):
    return [sys.executable, "-m", *launcher, "-m", f"tests.distributed.{job}", str(folder), what]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
