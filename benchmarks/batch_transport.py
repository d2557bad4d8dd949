"""Measure transport costs on batches: training images against other images, and against a run's samples.

    python benchmarks/batch_transport.py RUN [--results results] [--images 2048]

RUN is a result file or a run id of CIFAR-10, whose trained state must be in the run store. A method that
takes the transport cost of n images to n samples for that of the data to the model has a bias which falls
with n: two batches of the data themselves are far apart. Printed for each n, by the sum of absolute
differences of values in [-1, 1]: the cost per image of the best pairing, and that to the nearest (what is
left where a potential is flat), of training images with other training images and with the samples; means
over disjoint batches. Then the variance of both along the principal axes of the training images, which
shows what the samples leave out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean

import torch
from finished import finished
from scipy.optimize import linear_sum_assignment
from torch import Tensor

BATCHES = (64, 256, 1024, 2048)
AXES = (1, 2, 3, 5, 10, 20, 50, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--images", type=int, default=2048, help="images of each kind")
    a = parser.parse_args()
    run = finished(a.run, a.results, "cifar10")
    data = run.task.data(torch.device("cpu"))
    if not 2 <= a.images <= len(data) // 2:
        parser.error(f"--images {a.images}: 2 to {len(data) // 2} are expected, half of the training images")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    images = data[order[: a.images]].flatten(1)
    others = {
        "training images": data[order[a.images : 2 * a.images]].flatten(1),
        "samples": torch.cat(list(run.draws(a.images))).flatten(1),
    }

    print(run.made.run_id)
    print(f"{'n':>6} {'batches':>8} {'paired with':<16} {'best pairing':>13} {'nearest':>9}")
    for n in sorted({min(n, a.images) for n in BATCHES}):
        for name, other in others.items():
            found = [
                pairing(x, y)
                for x, y in zip(images.split(n), other.split(n), strict=True)
                if len(x) == len(y) == n
            ]
            pairings, nearest = (fmean(values) for values in zip(*found, strict=True))
            print(f"{n:>6,} {len(found):>8} {name:<16} {pairings:>13.1f} {nearest:>9.1f}", flush=True)

    centre = images.mean(0)
    axes = torch.linalg.svd(images - centre, full_matrices=False).Vh
    print(f"\n{'axis':>6} {'training images':>16} {'samples':>9}")
    spread = {name: ((other - centre) @ axes.T).var(0) for name, other in others.items()}
    for axis in (k for k in AXES if k <= len(axes)):
        found_here = (values[axis - 1].item() for values in spread.values())
        print(f"{axis:>6} " + " ".join(f"{v:>{w}.2f}" for v, w in zip(found_here, (16, 9), strict=True)))


def pairing(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Mean costs of x to y, both (n, d): by the cheapest one-to-one pairing, and to the nearest of y."""
    costs = torch.cdist(x, y, p=1.0).numpy()
    rows, columns = linear_sum_assignment(costs)
    return float(costs[rows, columns].mean()), float(costs.min(1).mean())


if __name__ == "__main__":
    main()
