"""Measure how the choices behind an FID change it: score the samples of one CIFAR-10 run in other ways.

    python benchmarks/fid_choices.py RUN [--results results] [--samples 50000]

RUN is a result file or a run id, whose trained state must be in the run store. Its samples are drawn again
by the seeds of its scoring, and scored rounded to the nearest byte (the protocol), cut to the byte below, and
(by `cifar-resnet` alone, torch-fidelity's Inception takes bytes) as floats; against the training and the test
images; all of them, and in disjoint parts of fewer: mean and standard deviation over the parts.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from statistics import fmean, stdev

import torch
from finished import finished
from torch import Tensor

from ebbench.contract import DataSpec
from ebbench.data.pool import to_bytes
from ebbench.device import pinned
from ebbench.metrics import image

FEWER = (10_000, 5_000, 1_000)
SPLITS = ("train", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--samples", type=int, default=50_000)
    a = parser.parse_args()
    device = torch.device("cpu")
    run = finished(a.run, a.results, "cifar10")

    with pinned():
        extractor = run.task.extractor(device)
        real = {split: run.task.reference(split, extractor, device, print) for split in SPLITS}
        kept: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for values in run.draws(a.samples):
            for way, pixels in roundings(values, run.task.spec()).items():
                if way == "float" and extractor.name == "inception":
                    continue  # torch-fidelity's net takes bytes alone
                kept.setdefault(way, []).append(extractor(pixels))
    whole = {way: [torch.cat(part) for part in zip(*parts, strict=True)] for way, parts in kept.items()}

    print(run.made.run_id)
    print(f"{'pixels':<13} {'samples':>8} {'reference':<9} {'FID':>9} {'+-':>7} {'IS':>8} {'+-':>7}")
    for way, (features, logits) in whole.items():
        counts = [a.samples, *(n for n in FEWER if n < a.samples and way == "nearest byte")]
        for n, split in product(counts, SPLITS):
            parts = [slice(begin, begin + n) for begin in range(0, a.samples - n + 1, n)]
            fids = [
                image.frechet_distance(image.moments(features[part]), real[split].moments) for part in parts
            ]
            scores = [image.inception_score(logits[part])[0] for part in parts]
            print(f"{way:<13} {n:>8,} {split:<9} {spelled(fids, 9)} {spelled(scores, 8)}", flush=True)


def spelled(values: list[float], width: int) -> str:
    """Mean and standard deviation of the values; of a single value only the mean."""
    spread = f"{stdev(values):>7.4f}" if len(values) > 1 else " " * 7
    return f"{fmean(values):>{width}.4f} {spread}"


def roundings(values: Tensor, data: DataSpec) -> dict[str, Tensor]:
    """Images scaled to 0 to 255: unrounded, rounded to the nearest byte, and rounded down."""
    assert data.low is not None and data.high is not None
    floats = (values - data.low) * (255 / (data.high - data.low))
    return {
        "nearest byte": to_bytes(values, data),
        "byte below": floats.clamp(0, 255).to(torch.uint8),
        "float": floats,
    }


if __name__ == "__main__":
    main()
