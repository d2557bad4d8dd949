"""Little sets of pictures and little networks, for tests of the CIFAR-10 task."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ebbench.data import cifar10 as archive
from ebbench.metrics import image
from ebbench.plugins import loader

CPU = torch.device("cpu")


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
