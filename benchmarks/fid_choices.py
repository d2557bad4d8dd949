"""What the choices behind an FID are worth: the samples of one finished CIFAR-10 run, scored in other ways.

    python benchmarks/fid_choices.py RUN [--results results] [--samples 50000]

RUN is a result file or a run id, whose trained state must be in the run store. Its samples are drawn again
by the seeds of its scoring, and scored as floats, rounded to the nearest byte (the protocol), and cut to the
byte below; against the training and the test images; all of them, and in disjoint parts of fewer: the mean of
the parts' values and their standard deviation.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from ebbench import contract, runner, seeds, spec, state
from ebbench.contract import DataSpec
from ebbench.data.pool import to_bytes
from ebbench.data.store import Store
from ebbench.files import home
from ebbench.metrics import image
from ebbench.result import Result, find

CHUNK = 1000
FEWER = (10_000, 5_000, 1_000)
SPLITS = ("train", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--samples", type=int, default=50_000)
    a = parser.parse_args()
    device = torch.device("cpu")
    made = find(a.run, a.results)
    if made.task.name != "cifar10":
        parser.error(f"{a.run} is a run of {made.task.name}; one of cifar10 is expected")
    resolved = spec.resolve(spec.request_of(made))
    task: Any = resolved.task.cls(resolved.options, resolved.protocol, Store(None))
    model = trained(made, resolved, task.spec(), device)

    with runner.pinned():
        extractor = task.extractor(device)
        real = {split: task.reference(split, extractor, device) for split in SPLITS}
        kept: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for values in draws(model, resolved, made, a.samples):
            for way, pixels in roundings(values, task.spec()).items():
                kept.setdefault(way, []).append(extractor(pixels))
    whole = {way: [torch.cat(part) for part in zip(*parts, strict=True)] for way, parts in kept.items()}

    print(made.run_id)
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
    """Mean and standard deviation of the values; the mean alone of one."""
    spread = f"{stdev(values):>7.4f}" if len(values) > 1 else " " * 7
    return f"{fmean(values):>{width}.4f} {spread}"


def trained(made: Result, resolved: spec.Spec, data: DataSpec, device: torch.device) -> contract.Model:
    """The model of a result, from the run store."""
    model: contract.Model = resolved.model.cls(data, resolved.config)
    model.device = device
    model.load_state_dict(state.load(home() / "runs" / made.training.hash / "state.json")["model"])
    for part in vars(model).values():
        if isinstance(part, nn.Module):
            part.eval()
    return model


def draws(model: contract.Model, resolved: spec.Spec, made: Result, n: int) -> Iterator[Tensor]:
    """The samples of the result in chunks, as they left its sampler."""
    draw = contract.samplers(resolved.model.cls)[resolved.sampler]
    for number, begin in enumerate(range(0, n, CHUNK)):
        seeds.seed_everything(seeds.derive(made.seed, "sample", resolved.sampler, "samples", number))
        yield draw(model, min(CHUNK, n - begin), **resolved.knobs)


def roundings(values: Tensor, data: DataSpec) -> dict[str, Tensor]:
    """Images on the scale of 0 to 255: as they are, to the nearest byte, and to the byte below."""
    assert data.low is not None and data.high is not None
    floats = (values - data.low) * (255 / (data.high - data.low))
    return {
        "nearest byte": to_bytes(values, data),
        "byte below": floats.clamp(0, 255).to(torch.uint8),
        "float": floats,
    }


if __name__ == "__main__":
    main()
