"""Runs of the CIFAR-10 task, and images that were made elsewhere."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cifar
from cifar import CPU, module, pictures, words
from ebbench.data import cifar10 as archive
from ebbench.data import registry
from ebbench.data.registry import Content
from ebbench.data.store import Store
from ebbench.metrics import extractors, features
from ebbench.plugins import loader
from ebbench.record import resultfiles
from ebbench.running import spec
from ebbench.running.request import Request

# Fixtures.
small_net = cifar.small_net
inception = cifar.inception
little = cifar.little


QUALITY = ("fid", "is", "kid", "precision", "recall", "density", "coverage")


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


@pytest.mark.medium
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


@pytest.mark.medium
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


@pytest.mark.medium
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


@pytest.mark.medium
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
