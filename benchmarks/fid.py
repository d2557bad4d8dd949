"""Image metrics, ours beside torch-fidelity's own: step by step, the whole, and how far values are apart.

    python benchmarks/fid.py [--images 200] [--features 20000] [--size 2048] [--weights FILE]
        [--device cpu] [--repeats 3]

The whole takes `--images` random pictures on either side through Inception-v3, ours once for all metrics,
theirs by `calculate_metrics`; the features of one side are timed by themselves too. Statistics and the last
step take `--features` random features of `--size` values, precision and recall a quarter of them on either
side (ours with what it would keep of the real ones). Without `--weights` the net's weights are random:
the same work, and a value that compares with nothing else. Ratios are of the fastest of `--repeats` turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics
from torch_fidelity import feature_extractor_inceptionv3 as theirs_
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torch_fidelity.utils import get_featuresdict_from_dataset

from ebbench.device import pinned
from ebbench.metrics import features, image


class Images(Dataset[Tensor]):
    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


# As in scoring. On a GPU, TF32 would be faster but give other numbers.
@pinned()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--features", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    device = torch.device(a.device)
    generator = torch.Generator().manual_seed(0)
    print(f"torch {torch.__version__}, {a.device}, {torch.get_num_threads()} threads")

    sets = [torch.randn(a.features, a.size, generator=generator).relu() * scale for scale in (1.0, 1.1)]
    ours, theirs = turns(
        a.repeats, lambda: image.moments(sets[0]), lambda: fid_features_to_statistics(sets[0])
    )
    report(f"statistics of {a.features:,} features", ours, theirs)
    mine = [image.moments(found) for found in sets]
    given = [{"mu": mean, "sigma": covariance} for mean, covariance in mine]
    ours, theirs = turns(
        a.repeats,
        lambda: image.frechet_distance(mine[0], mine[1]),
        lambda: fid_statistics_to_metric(given[0], given[1], verbose=False)["frechet_inception_distance"],
    )
    report("the last step", ours, theirs)
    few = [found[: a.features // 4] for found in sets]
    ours, theirs = turns(
        a.repeats,
        lambda: image.neighbours(few[0], image.reference(few[1], device), device)["precision"],
        lambda: prc_features_to_metric(
            few[0].to(device),
            few[1].to(device),
            prc_neighborhood=image.NEIGHBOURS,
            prc_batch_size=image.ROWS,
            save_cpu_ram=True,
            verbose=False,
        )["precision"],
    )
    report(f"precision and recall of {len(few[0]):,} features", ours, theirs)

    with tempfile.TemporaryDirectory() as folder:
        weights = a.weights or random_weights(Path(folder) / "inception.pth")
        pictures = [
            torch.randint(0, 256, (a.images, 3, 32, 32), generator=generator, dtype=torch.uint8)
            for _ in range(2)
        ]
        extractor = features.inception(weights, "", device)

        ours, theirs = turns(
            a.repeats,
            lambda: extractor(pictures[0].to(device)),
            lambda: get_featuresdict_from_dataset(
                Images(pictures[0]), extractor.net, features.BATCH, device.type == "cuda", False, False
            ),
        )
        report(f"features of {a.images:,} images", ours, theirs)

        def whole_ours() -> float:
            made = [extractor(part.to(device)) for part in pictures]
            image.inception_score(made[0][1])
            return image.frechet_distance(image.moments(made[0][0]), image.moments(made[1][0]))

        def whole_theirs() -> float:
            found = calculate_metrics(
                input1=Images(pictures[0]),
                input2=Images(pictures[1]),
                feature_extractor="inception-v3-compat",
                feature_extractor_weights_path=str(weights),
                isc=True,
                fid=True,
                batch_size=features.BATCH,
                cuda=device.type == "cuda",
                cache=False,
                verbose=False,
            )
            return float(found["frechet_inception_distance"])

        ours, theirs = turns(a.repeats, whole_ours, whole_theirs)
        report(f"IS and FID of {a.images:,} images against as many", ours, theirs)
        print(f"  {2 * a.images / ours[0]:,.1f} images a second; theirs {2 * a.images / theirs[0]:,.1f}")


def random_weights(path: Path) -> Path:
    """Inception's weights, drawn by a fixed seed and written to `path`."""
    torch.manual_seed(0)
    download = theirs_.load_state_dict_from_url
    load = theirs_.FeatureExtractorInceptionV3.load_state_dict
    # Without given weights, torch-fidelity would download them.
    theirs_.load_state_dict_from_url = lambda *_, **__: {}
    theirs_.FeatureExtractorInceptionV3.load_state_dict = lambda *_: None
    try:
        net = theirs_.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    finally:
        theirs_.load_state_dict_from_url = download
        theirs_.FeatureExtractorInceptionV3.load_state_dict = load
    torch.save(net.state_dict(), path)
    return path


def turns(
    repeats: int, ours: Callable[[], Any], theirs: Callable[[], Any]
) -> tuple[tuple[float, Any], tuple[float, Any]]:
    """Run the functions in turn. Return the fastest time of each in seconds, and its result."""
    fastest: list[tuple[float, Any]] = [(float("inf"), None)] * 2
    for _ in range(repeats):
        for i, work in enumerate((ours, theirs)):
            began = time.perf_counter()
            value = work()
            fastest[i] = min(fastest[i], (time.perf_counter() - began, value), key=lambda turn: turn[0])
    return fastest[0], fastest[1]


def report(what: str, ours: tuple[float, Any], theirs: tuple[float, Any]) -> None:
    """One line: the seconds, their ratio, and the difference of the values if they are numbers."""
    line = f"{what}: ours {ours[0]:.3f} s, torch-fidelity {theirs[0]:.3f} s, {theirs[0] / ours[0]:.2f} times"
    if isinstance(ours[1], float):
        line += f"; values differ by {abs(ours[1] - theirs[1]) / abs(theirs[1]):.1e} of theirs"
    print(line, flush=True)


if __name__ == "__main__":
    main()
