"""``python -m benchmarks.experiments``: which experiments there are, and how to run each."""

TEXT = """\
Each runs in minutes at --scale small and in hours at --scale full, and writes a table and pictures.

  A  python -m benchmarks.experiments.matched_decoders --data-root DIR
     VAE, GANs and a flow with the same decoder on MNIST: the metric decides the winner
  B  python -m benchmarks.experiments.known_truth
     every family on targets of known density, with less and less noise
  C  python -m benchmarks.gan_warm_start
     what the start from a VAE's decoder spares a game, over seeds
"""

if __name__ == "__main__":
    print(TEXT, end="")
