"""Image quality on CIFAR-10: against torch-fidelity, and the choices behind an FID."""

from __future__ import annotations

import json
import re
import runpy
import sys
from itertools import permutations, product
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics, register_feature_extractor

import cifar
from cifar import CPU, module, pictures, words
from ebbench.data import cifar10 as archive
from ebbench.data.store import Store
from ebbench.metrics import extractors, features, image
from ebbench.plugins import loader
from ebbench.record import resultfiles
from ebbench.storage import files

# Fixtures.
small_net = cifar.small_net
inception = cifar.inception
little = cifar.little


BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


class Images(Dataset):
    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.images[i]


def ours(extractor: features.Extractor, samples: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
    of_real = extractor(real)[0]
    return image.quality(*extractor(samples), image.reference(of_real, CPU), CPU)


def theirs(name: str, weights: Path, samples: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
    found = calculate_metrics(
        input1=Images(samples),
        input2=Images(real),
        feature_extractor=name,
        feature_extractor_weights_path=str(weights),
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        kid_subset_size=min(1000, len(samples), len(real)),
        batch_size=features.BATCH,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    return {
        "is": found["inception_score_mean"],
        "is_std": found["inception_score_std"],
        "fid": found["frechet_inception_distance"],
        "kid": found["kernel_inception_distance_mean"],
        "precision": found["precision"],
        "recall": found["recall"],
    }


def shared(found: dict[str, float]) -> dict[str, float]:
    """Without what torch-fidelity has not."""
    return {name: value for name, value in found.items() if name not in ("density", "coverage")}


def test_every_metric_is_torch_fidelity_s_by_the_small_net(small_net: Path):
    wrapped = module("fidelity").CifarResNetExtractor
    register_feature_extractor("small-net-of-the-test", wrapped)
    net = wrapped("small", ["features", "logits"], small_net)
    samples, real = pictures(300, 0), pictures(400, 1)
    mine = shared(ours(features.Extractor("small", net, "0"), samples, real))
    assert mine == pytest.approx(
        theirs("small-net-of-the-test", small_net, samples, real), rel=1e-4, abs=1e-7
    )


# The square root of a matrix of 2048 x 2048 takes most of it.
@pytest.mark.slow
def test_every_metric_is_torch_fidelity_s_by_inception(inception: Path):
    samples, real = pictures(12, 0), pictures(12, 1)
    mine = shared(ours(features.inception(inception, "0", CPU), samples, real))
    assert mine == pytest.approx(theirs("inception-v3-compat", inception, samples, real), rel=1e-4)


def test_features_do_not_hang_on_the_batch(small_net: Path):
    net = module("fidelity").CifarResNetExtractor("small", ["features", "logits"], small_net)
    extractor = features.Extractor("small", net, "0")
    images = pictures(150, 0)
    whole, one = extractor(images)[0], torch.cat([extractor(images[i : i + 7])[0] for i in range(0, 150, 7)])
    assert torch.allclose(whole, one, rtol=1e-4, atol=1e-5)


def test_equal_sets_are_at_no_distance(small_net: Path):
    net = module("fidelity").CifarResNetExtractor("small", ["features", "logits"], small_net)
    images = pictures(300, 0)
    found = ours(features.Extractor("small", net, "0"), images, images[torch.randperm(300)])
    assert found["fid"] == pytest.approx(0, abs=1e-6)
    assert found["precision"] == found["recall"] == found["coverage"] == 1


def test_a_reference_is_kept_by_what_it_is_of(small_net: Path, monkeypatch: pytest.MonkeyPatch):
    net = module("fidelity").CifarResNetExtractor("small", ["features", "logits"], small_net)
    images = pictures(100, 0)
    noted: list[str] = []
    first = features.reference(
        images, features.Extractor("small", net, "a"), {"split": "train"}, CPU, noted.append
    )

    def never(self: Any, x: torch.Tensor) -> Any:
        raise AssertionError("taken again")

    (path,) = (files.home() / "references").glob("*.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    anew = features.reference(
        images, features.Extractor("small", net, "a"), {"split": "train"}, CPU, noted.append
    )
    assert torch.equal(first.features, anew.features), "one that was cut short is taken anew"

    monkeypatch.setattr(features.Extractor, "__call__", never)
    again = features.reference(
        images, features.Extractor("small", net, "a"), {"split": "train"}, CPU, noted.append
    )
    assert torch.equal(first.features, again.features)
    assert all((x == y).all() for x, y in zip(first.moments, again.moments, strict=True))
    assert torch.equal(first.radii, again.radii)
    assert len(noted) == 2 and "100 real images" in noted[0], "nobody waits for what is kept"
    for weights, key in (("b", {"split": "train"}), ("a", {"split": "test"})):
        with pytest.raises(AssertionError, match="taken again"):
            features.reference(images, features.Extractor("small", net, weights), key, CPU, noted.append)


@pytest.mark.medium
def test_the_shipped_classifier_is_what_its_sidecar_says(cifar10: Path):
    net = module("resnet")
    said = json.loads(net.WEIGHTS.with_suffix(".json").read_text(encoding="utf-8"))
    assert said["sha256"] == net.digest(net.WEIGHTS) == net.SHA256 and net.WEIGHTS.stat().st_size < 4e6
    assert said["test_accuracy"] >= 0.87
    images, classes = archive.load(Store(cifar10), "test", "cifar10-jpeg75")
    _, logits = net.load(net.WEIGHTS)(torch.from_numpy(images[:2000]))
    right = float((logits.argmax(1).numpy() == classes[:2000]).mean())
    # Two thousand of the ten thousand: 3 standard errors.
    assert right == pytest.approx(said["test_accuracy"], abs=0.022)


@pytest.mark.medium
def test_the_choices_behind_an_fid_begin_with_the_protocol_s(
    cli, little: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    said = cli(*words("--task", "cifar10", "--model", "sngan", "--budget", "smoke", "--set", "samples=1000"))
    assert said.code == 0, said.err
    (path,) = (tmp_path / "made").rglob("*.json")
    benchmark(monkeypatch, "fid_choices.py", str(path), "--samples", "1000")
    found = re.findall(r"^(\w.*?) +1,000 (train|test) +([\d.]+) +([\d.]+) *$", capsys.readouterr().out, re.M)
    scores = {(way, split): (float(fid), float(score)) for way, split, fid, score in found}
    assert set(scores) == set(product(("nearest byte", "byte below", "float"), ("train", "test")))
    # Drawn again, the samples are the result's own.
    metrics = resultfiles.read(path).metrics
    assert scores["nearest byte", "train"] == pytest.approx(
        (metrics["fid_cifar_1k"], metrics["is_cifar_1k"]), abs=1e-4
    )
    assert scores["byte below", "train"] != scores["nearest byte", "train"]
    assert scores["float", "train"] == pytest.approx(scores["nearest byte", "train"], rel=0.01)


@pytest.mark.medium
def test_a_batch_of_images_is_paired_at_the_least_cost(
    cli, little: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    said = cli(*words("--task", "cifar10", "--model", "sngan", "--budget", "smoke", "--set", "samples=1000"))
    assert said.code == 0, said.err
    (path,) = (tmp_path / "made").rglob("*.json")
    script = benchmark(monkeypatch, "batch_transport.py", str(path), "--images", "100")
    printed = capsys.readouterr().out
    costs = re.findall(r"^ +(\d+) +1 ([a-z ]+?) +([\d.]+) +([\d.]+)$", printed, re.M)
    assert [(n, name) for n, name, _, _ in costs] == list(
        product(("64", "100"), ("training images", "samples"))
    )
    assert all(float(best) >= float(nearest) > 0 for _, _, best, nearest in costs)
    assert len(re.findall(r"^ +\d+ +[\d.]+ +[\d.]+$", printed, re.M)) == 8

    x, y = torch.randn(2, 5, 3)
    by_hand = [
        fmean((x[i] - y[j]).abs().sum().item() for i, j in enumerate(p)) for p in permutations(range(5))
    ]
    best, nearest = script["pairing"](x, y)
    assert best == pytest.approx(min(by_hand), rel=1e-6)
    assert nearest == pytest.approx((x[:, None] - y).abs().sum(2).min(1).values.mean().item(), rel=1e-6)
    assert script["pairing"](x, x.flip(0)) == (0, 0)

    for state in (tmp_path / "home" / "runs").rglob("state.json"):
        state.unlink()
    with pytest.raises(
        SystemExit, match="its trained state is not in the run store .* `ebbench run --task cifar10"
    ):
        benchmark(monkeypatch, "batch_transport.py", str(path))


def benchmark(monkeypatch: pytest.MonkeyPatch, script: str, *options: str) -> dict[str, Any]:
    """Run a script of benchmarks/ in this process; what it defines."""
    monkeypatch.setattr(sys, "argv", [script, *options])
    monkeypatch.syspath_prepend(BENCHMARKS)
    return runpy.run_path(str(BENCHMARKS / script), run_name="__main__")


@pytest.mark.medium
def test_what_was_not_trained_here_cannot_be_scored(cli, little: None, tmp_path: Path):
    trained = [
        "--task",
        "cifar10",
        "--model",
        "sngan:untrained",
        "--budget",
        "smoke",
        "--set",
        "samples=1000",
    ]
    assert cli(*words(*trained)).code == 0
    (path,) = (tmp_path / "made").rglob("*.json")
    for state in (tmp_path / "home" / "runs").rglob("state.json"):
        state.unlink()
    said = cli(*words(path.stem, "--protocol", "test-reference", verb="score"))
    assert (
        said.code == 2
        and "no trained state of sngan" in said.err
        and "ebbench run --task cifar10" in said.err
    )
    # A training of other code is none of this result's, even where it is here.
    text = path.read_text(encoding="utf-8")
    code = resultfiles.read(path).model.code_hash
    path.write_text(text.replace(code, "0" * 64), encoding="utf-8")
    said = cli(*words(path.stem, "--protocol", "test-reference", verb="score"))
    assert said.code == 2 and "the code of sngan has changed" in said.err and "commit" in said.err
    said = cli(*words("no-such-run", verb="score"))
    assert said.code == 2 and "unknown result 'no-such-run'" in said.err


def test_bad_requests(cli, little: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A method that trains: nothing may be spent before the weights are known to be good.
    run = ["--task", "cifar10", "--model", "sngan", "--budget", "smoke"]
    said = cli(*words(*run, "--set", "samples=77"))
    assert said.code == 2 and "samples" in said.err
    folder = tmp_path / "data" / "inception"
    folder.mkdir(parents=True)
    (folder / extractors.INCEPTION_WEIGHTS).write_bytes(b"not the weights")
    said = cli(
        *words(*run, "--set", "samples=1000", "--set", "features=inception", "--data-dir", tmp_path / "data")
    )
    assert said.code == 2 and "15 bytes, expected 95,628,359" in said.err
    assert not (tmp_path / "home" / "runs").exists()
    assert not list((tmp_path / "made").rglob("*.json"))


def test_names_of_metrics_say_what_they_are_of():
    suffix = module("task").suffix
    assert suffix("inception", 50_000) == ""
    assert suffix("inception", 5_000) == "_5k"
    assert suffix("cifar-resnet", 50_000) == "_cifar"
    assert suffix("cifar-resnet", 10_000) == "_cifar_10k"
    names = [metric.name for metric in loader.load("task", "cifar10").cls.metrics]
    assert len(names) == len(set(names)) == 57
