"""Image quality on CIFAR-10: against torch-fidelity, and from the command line."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import re
import runpy
import sys
from itertools import permutations, product
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics, register_feature_extractor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ebbench.data import cifar10 as archive
from ebbench.data import registry
from ebbench.data.registry import Content
from ebbench.data.store import Store
from ebbench.metrics import extractors, features, image
from ebbench.plugins import loader
from ebbench.record import resultfiles
from ebbench.running import spec
from ebbench.running.request import Request
from ebbench.storage import files

CPU = torch.device("cpu")
QUALITY = ("fid", "is", "kid", "precision", "recall", "density", "coverage")
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def module(name: str) -> ModuleType:
    if name == "copies":
        return importlib.import_module("ebbench.metrics.copies")
    if name in ("resnet", "fidelity"):
        return importlib.import_module(f"ebbench.metrics.cifar.{name}")
    cls = loader.load("task", "cifar10").cls
    return importlib.import_module(f".{name}", cls.__module__.rpartition(".")[0])


def pictures(n: int, seed: int) -> torch.Tensor:
    """Coloured gradients with some noise, uint8 (n, 3, 32, 32)."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, 32)
    x = rng.random((n, 3, 1, 1)) * ramp[:, None] + rng.random((n, 3, 1, 1)) * ramp
    return torch.from_numpy((x * 120 + rng.random((n, 3, 32, 32)) * 15).astype(np.uint8))


class Images(Dataset):
    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.images[i]


@pytest.fixture(scope="module")
def small_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the classifier, random but fixed."""
    torch.manual_seed(0)
    net = module("resnet").CifarResNet()
    net.deviation.fill_(0.25)
    path = tmp_path_factory.mktemp("weights") / "cifar-resnet.safetensors"
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path)
    path.with_suffix(".json").write_text("{}")
    return path


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inception's weights, random but fixed."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        # Asked for no weights it would download them.
        patch.setattr(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *a, **k: {}
        )
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(net.state_dict(), path)
    return path


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


# --- from the command line


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch, small_net: Path) -> None:
    """CIFAR-10 of 600 and 300 pictures, scored by random weights."""
    sets = {"train": pictures(600, 2).numpy(), "test": pictures(300, 3).numpy()}
    monkeypatch.setattr(archive, "load", lambda store, split, source: (sets[split], np.zeros(1, np.uint8)))
    monkeypatch.setattr(archive, "source_here", lambda store: "cifar10-jpeg75")
    # What KID's value is is not looked at here, and its hundred subsets are slow.
    monkeypatch.setattr(image, "SUBSETS", 2)
    resnet = module("resnet")
    monkeypatch.setattr(resnet, "WEIGHTS", small_net)
    monkeypatch.setattr(resnet, "SHA256", resnet.digest(small_net))
    monkeypatch.setattr(resnet.load, "__defaults__", (small_net,))
    monkeypatch.setattr(resnet.digest, "__defaults__", (small_net,))
    monkeypatch.setattr(module("fidelity").CifarResNetExtractor.__init__, "__defaults__", (small_net,))


def words(*more: str, verb: str = "run") -> list[str]:
    return [verb, *more, "--results", "made", "--quiet"]


@pytest.mark.parametrize("content", [None, b"other weights"])
def test_without_the_weights_nothing_is_trained(cli, little: None, tmp_path: Path, monkeypatch, content):
    place = tmp_path / "weights"
    if content is not None:
        place.write_bytes(content)
    monkeypatch.setattr(module("resnet"), "WEIGHTS", place)
    monkeypatch.setattr(module("resnet").digest, "__defaults__", (place,))
    said = cli(*words("--task", "cifar10", "--model", "sngan", "--budget", "smoke"))
    assert said.code == 2 and "weights of cifar-resnet" in said.err and "training" not in said.err


def test_copies_of_training_images_are_found(monkeypatch: pytest.MonkeyPatch):
    copies, task = module("copies"), loader.load("task", "cifar10").cls
    rng = np.random.default_rng(0)
    # Coarse pictures of their own, so that no two are alike from afar.
    drawn = rng.integers(0, 256, (600, 3, 8, 8), np.uint8).repeat(4, 2).repeat(4, 3)
    train, other = torch.from_numpy(drawn[:400]), torch.from_numpy(drawn[400:])
    noise = torch.from_numpy(rng.integers(-20, 21, (400, 3, 32, 32)))
    noisy = (train.int() + noise).clamp(0, 255).to(torch.uint8)
    for images in (train, train.flip(-1), train[torch.randperm(400)], noisy):
        assert copies.share_memorised(images, train, 0.62) == 1
    assert copies.share_memorised(other, train, 0.62) == 0
    mixed = torch.stack([train[:200], other], 1).flatten(0, 1)
    assert copies.share_memorised(mixed, train, 0.62) == 0.5
    (limit,) = task.limits
    assert limit.broken({"share_memorised": 1.0}) and not limit.broken({"share_memorised": 0.02})


@pytest.mark.slow
def test_the_distance_of_a_copy_is_that_of_the_nearest_in_a_hundred():
    copies = module("copies")
    train = copies.coarse(torch.from_numpy(archive.load(Store(None), "train", archive.JPEG)[0]))
    found = copies.distances(train[torch.randperm(len(train))[:3000]], train, 2)
    assert float(found.quantile(0.01)) == pytest.approx(module("task").COPY, rel=0.06)


def test_a_run_and_another_score_of_the_same_samples(cli, little: None, tmp_path: Path):
    said = cli(
        *words("--task", "cifar10", "--model", "real-data", "--budget", "smoke", "--set", "samples=1000")
    )
    assert said.code == 0, said.err
    assert "Inception's weights are not here" in said.err and "fid_cifar_1k" in said.out
    (path,) = (tmp_path / "made").rglob("*.json")
    made = resultfiles.read(path)
    assert set(made.metrics) == {f"{n}_cifar_1k" for n in QUALITY} | {"share_memorised"}
    assert made.task.source == "cifar10-jpeg75" and made.details["extractor"]["name"] == "cifar-resnet"
    assert set(made.pictures) == {"samples", "nearest"}
    assert made.details["features"] == 192 and made.details["covariance_is_singular"] is False
    (kept,) = (tmp_path / "home" / "runs").rglob("samples/*.npz")
    with np.load(kept) as stored:
        assert stored["images"].shape == (1000, 3, 32, 32) and stored["images"].dtype == np.uint8
        # Each of them is a test image, to the bit.
        real = {x.tobytes() for x in archive.load(None, "test", None)[0]}
        assert {x.tobytes() for x in stored["images"]} <= real

    said = cli(*words(made.run_id, "--protocol", "test-reference", verb="score"))
    assert said.code == 0, said.err
    other = next(r for r in resultfiles.load_all(tmp_path / "made")[0] if r.run_id != made.run_id)
    assert other.task.protocol == "test-reference" and other.details["reference"] == 300
    # The samples are the same, so what needs no reference is the same too.
    assert other.metrics["is_cifar_1k"] == made.metrics["is_cifar_1k"]
    assert other.metrics["fid_cifar_1k"] < made.metrics["fid_cifar_1k"]
    # A run of that protocol is the same result by the same name.
    said = cli(
        *words("--task", "cifar10", "--model", "real-data", "--budget", "smoke", "--set", "samples=1000"),
        *("--protocol", "test-reference"),
    )
    assert said.code == 0 and "done before" in said.out, said.err
    said = cli("table", "--task", "cifar10", "--results", "made", "--format", "json")
    rows = json.loads(said.out)
    assert {row["protocol"] for row in rows} == {"train-reference", "test-reference"}
    assert not any(row["published"] for row in rows)


@pytest.fixture
def wide(little: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for Inception's weights, and a net of more features than a thousand in its place."""
    place = tmp_path / "home" / "data" / "inception" / extractors.INCEPTION_WEIGHTS
    place.parent.mkdir(parents=True)
    place.write_bytes(b"the weights")
    known = Content(size=place.stat().st_size, sha256=hashlib.sha256(place.read_bytes()).hexdigest())
    entry = registry.DATASETS["inception"]
    (file,) = entry.files
    changed = dataclasses.replace(entry, files=(dataclasses.replace(file, packed=known),))
    monkeypatch.setitem(registry.DATASETS, "inception", changed)
    project = torch.randn(3 * 32 * 32, 1200, generator=torch.Generator().manual_seed(0))

    def net(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = pixels.flatten(1).float() @ project
        return found, found[:, :10] / 1000

    monkeypatch.setattr(
        features, "inception", lambda path, sha256, device: features.Extractor("inception", net, sha256)
    )
    return place


def test_the_published_metric_is_added_later_without_training_or_sampling(
    cli, wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    weights = wide.read_bytes()
    wide.unlink()
    one = ("--task", "cifar10", "--model", "sngan", "--budget", "smoke", "--set", "samples=1000")
    assert cli(*words(*one)).code == 0
    (path,) = (tmp_path / "made").rglob("*.json")
    made = resultfiles.read(path)
    said = cli(*words(made.run_id, "--features", "inception", verb="score"))
    assert said.code == 2 and "inception" in said.err, "the weights are not here yet"

    wide.write_bytes(weights[::-1])
    said = cli(*words(made.run_id, "--features", "inception", verb="score"))
    assert said.code == 2 and "SHA-256" in said.err, "of the right size, and not the weights"
    assert len(list((tmp_path / "made").rglob("*.json"))) == 1

    wide.write_bytes(weights)
    cls = loader.load("model", "sngan").cls
    monkeypatch.setattr(cls, "sample", lambda self, n: pytest.fail("drawn again"))
    monkeypatch.setattr(cls, "train", lambda self, data, run: pytest.fail("trained again"))
    said = cli("score", made.run_id, "--features", "inception", "--results", "made")
    assert said.code == 0 and "taken from the run store" in said.err, said.err
    assert "singular" in said.err and "  * fid_1k " in said.out
    (added,) = (r for r in resultfiles.load_all(tmp_path / "made")[0] if r.run_id != made.run_id)
    assert set(added.metrics) == {f"{n}_1k" for n in QUALITY} | {"share_memorised"}
    assert added.training.hash == made.training.hash
    assert added.details["covariance_is_singular"] is True and added.details["features"] == 1200
    assert added.details["extractor"] == {
        "name": "inception",
        "sha256": hashlib.sha256(weights).hexdigest(),
    }


def test_a_reference_is_of_the_data_and_not_of_their_name(
    little: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cls = loader.load("task", "cifar10").cls
    noted: list[str] = []
    # Other files of the same name are another reference.
    for digest in ("1", "1", "2"):
        monkeypatch.setattr(archive, "hashes", lambda store, source, digest=digest: {"images": digest * 64})
        task = cls(cls.Options(), "train-reference", Store())
        task.reference("train", task.extractor(CPU), CPU, noted.append)
    assert len(noted) == len(list((tmp_path / "home" / "references").glob("*.npz"))) == 2


@pytest.mark.parametrize(("model", "sampler"), [("meg", "mala"), ("ddls", "ddls")])
def test_chains_move_images_and_say_how(cli, little: None, tmp_path: Path, model: str, sampler: str):
    one = ["--task", "cifar10", "--budget", "smoke", "--set", "samples=1000", "--set", f"{sampler}.steps=5"]
    more = ["--set", "base=sngan"] if model == "ddls" else []
    assert cli(*words(*one, *more, "--model", model, "--sampler", sampler)).code == 0
    plain = "sngan" if model == "ddls" else model
    assert cli(*words(*one[:-2], "--model", plain, "--sampler", "generator")).code == 0
    found = {r.sampler.name: r for r in resultfiles.load_all(tmp_path / "made")[0] if r.sampler}
    chains, before = found[sampler], found["generator"]
    assert chains.metrics != before.metrics and 0 < chains.scoring.diagnostics["effective_share"] <= 1
    shown = cli("show", chains.run_id, "--results", "made").out
    assert "effective_share" in shown and " a second" in shown and ("built on" in shown) == (model == "ddls")
    if model == "ddls":
        assert chains.training.base is not None and chains.training.base.hash == before.training.hash
    else:
        assert chains.training.hash == before.training.hash


# The numbers of protocols.md, sections 3.2 and 3.6.
@pytest.mark.parametrize(
    ("model", "published"),
    [
        (
            "sngan",
            {"nets": "residual", "width": 128, "generator_width": 256, "z_dim": 128, "critic_steps": 5}
            | {"steps": 100_000, "batch_size": 64, "lr": 2e-4, "lr_end": 0.0, "lr_decay": "linear"}
            | {"beta1": 0.0, "beta2": 0.9},
        ),
        (
            "wgan-gp:resnet",
            {"nets": "residual", "width": 128, "z_dim": 128, "critic_steps": 5, "steps": 100_000}
            | {"batch_size": 64, "generator_batch": 128, "penalty": 10.0, "lr": 2e-4, "lr_end": 0.0}
            | {"lr_decay": "linear", "beta1": 0.0, "beta2": 0.9},
        ),
    ],
)
def test_the_paper_budget_is_the_papers(model: str, published: dict[str, Any]):
    settled = spec.resolve(Request(task="cifar10", model=model, budget="paper"))
    config = dataclasses.asdict(settled.config)
    assert {name: config[name] for name in published} == published


CARD = """
name = "elsewhere"
title = "Made elsewhere"
"""


@pytest.mark.usefixtures("maintainer")
def test_images_made_elsewhere_are_submitted_and_verified(
    cli, little: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # The pictures of this test are all alike from afar.
    monkeypatch.setattr(module("task"), "COPY", 0.0)
    (tmp_path / "card.toml").write_text(CARD)
    np.savez(tmp_path / "s.npz", samples=pictures(1000, 5).numpy())
    said = cli(*submission())
    assert said.code == 0 and "comparing 1,000 samples with 600 real images" in said.err, said.err
    said = cli("verify", "elsewhere.zip", "--results", "board")
    assert said.code == 0, said.err + said.out
    (made,) = resultfiles.load_all(tmp_path / "board")[0]
    assert made.confirmed == "recomputed" and made.metrics["fid_cifar_1k"] > 0


def submission() -> list[str]:
    return [
        "submit",
        "--task",
        "cifar10",
        "--set",
        "samples=1000",
        "--samples",
        "s.npz",
        "--card",
        "card.toml",
    ]


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros((1000, 3, 32, 32), np.float32), "numpy.rint((values - -1) * 127.5)"),
        (np.full((1000, 3, 32, 32), np.nan, np.float32), "uint8"),
        (
            np.arange(2, dtype=np.uint8).repeat(500)[:, None, None, None] * np.ones((3, 32, 32), np.uint8),
            "above 1",
        ),
        (np.zeros((1000, 32, 32, 3), np.uint8), "channels come first"),
        (np.zeros((999, 3, 32, 32), np.uint8), "holds 999 samples"),
        (np.zeros((1001, 3, 32, 32), np.uint8), "holds 1,001 samples"),
        (None, "numpy.savez(path, samples=x)"),
    ],
)
def test_images_that_do_not_fit_are_refused(cli, little: None, tmp_path: Path, samples: Any, said: str):
    (tmp_path / "card.toml").write_text(CARD)
    if samples is None:
        (tmp_path / "s.npz").write_bytes(b"no archive")
    else:
        np.savez(tmp_path / "s.npz", samples=samples)
    end = cli(*submission())
    assert end.code == 2 and said in end.err, end.err
    assert not list(tmp_path.glob("*.zip"))


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
