"""Images of 32 to 256 pixels: a user's pictures from the command line, and nets of every size."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ebbench.contract import DataSpec
from ebbench.data.store import Store
from ebbench.metrics import copies
from ebbench.nn.autoencoder import deep_nets
from ebbench.nn.dcgan import SIDES, Generator, Trunk
from ebbench.nn.nets import generator, trunk
from ebbench.nn.residual import residual_nets
from ebbench.plugins import loader
from ebbench.record import resultfiles


def task(**options: Any) -> Any:
    cls = loader.load("task", "images").cls
    return cls(cls.Options(features="cifar-resnet", **options), "train-reference", Store(offline=True))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 pictures of CelebA's size in two class folders, a few of them grey."""
    folder = tmp_path_factory.mktemp("sets") / "my faces"
    rng = np.random.default_rng(0)
    for i in range(120):
        small = rng.integers(0, 256, (6, 5, 3), np.uint8)
        picture = Image.fromarray(small).resize((178, 218), Image.Resampling.BICUBIC)
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (picture.convert("L") if i % 40 == 0 else picture).save(folder / "ab"[i % 2] / f"{i:03d}.png")
    return folder


def test_nine_in_ten_are_trained_on_and_none_is_held_out_too(faces: Path):
    made = task(path=str(faces), size=32)
    train, held_out = made._images
    assert train.shape == (108, 3, 32, 32) and len(held_out) == 12
    together = {x.numpy().tobytes() for x in torch.cat([train, held_out])}
    assert len(together) == 120
    assert made.options.path == "my faces" and made.source.startswith("my-faces-")
    again = task(path=str(faces), size=32)
    assert torch.equal(again._images[0], train) and again.data_hashes == made.data_hashes
    assert task(path=str(faces), crop="celeba").data_key() != made.data_key()


def test_a_run_on_a_user_s_pictures(cli, faces: Path, tmp_path: Path):
    words = ("run", "--task", "images", "--budget", "smoke", "--results", "made", "--set", "samples=1000")
    said = cli(*words, "--model", "memoriser", "--set", f"path={faces}", "--set", "size=32")
    assert said.code == 0, said.err
    (path,) = (tmp_path / "made").rglob("*.json")
    made = resultfiles.read(path)
    assert made.metrics["share_memorised"] == 1.0 and made.metrics["precision_cifar_1k"] > 0.99
    assert str(faces.parent) not in path.read_text(encoding="utf-8")
    assert len(list(path.parent.glob("*.png"))) == 2


def test_what_cannot_be_used_ends_the_run_before_the_training(cli, faces: Path, tmp_path: Path):
    def said(*settings: str) -> str:
        words = [word for setting in settings for word in ("--set", setting)]
        found = cli("run", "--task", "images", "--model", "gan", "--budget", "smoke", *words)
        assert found.code == 2 and "Traceback" not in found.err
        return str(found.err)

    assert "size" in said("size=48") and "no pictures at" in said("path=nowhere")
    assert "50 pictures are too few" in said(f"path={faces}", "pictures=50")
    assert "crop" in said("crop=celeba")
    (tmp_path / "one").mkdir()
    for i in range(101):
        Image.new("RGB", (40, 40)).save(tmp_path / "one" / f"{i}.png")
    (tmp_path / "one" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    broken = said("path=one", "size=32")
    assert "1 of 102" in broken and "broken.jpg" in broken


def test_a_copy_is_nearer_than_one_training_image_in_a_hundred_is_to_the_next():
    rng = np.random.default_rng(0)
    train = torch.from_numpy(rng.integers(0, 256, (300, 3, 8, 8), np.uint8).repeat(8, 2).repeat(8, 3))
    flat = train[:, :, ::8, ::8].flatten(1).double() / 255
    apart = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    distance = sys.modules[loader.load("task", "images").cls.__module__].copy_distance(train)
    assert distance == pytest.approx(float(apart.min(1).values.quantile(0.01)), rel=1e-4)
    assert copies.share_memorised(train.flip(-1), train, distance) == 1


def test_small_features_are_of_means_over_squares():
    made = task(size=64).extractor(torch.device("cpu"))
    small = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    plain = task(size=32).extractor(torch.device("cpu"))
    assert torch.equal(made(large)[0], plain(small)[0])


@pytest.mark.parametrize("side", SIDES)
def test_nets_of_every_family_fit_every_side(side: int):
    data = DataSpec(name="x", shape=(3, side, side), low=-1.0, high=1.0)
    made = generator(data, 5, width=2, kernel=4, layers=())
    images = made(torch.randn(2, 5))
    assert images.shape == (2, 3, side, side) and images.abs().max() <= 1
    features, n = trunk(data, width=2, kernel=4, layers=())
    assert features(images).shape == (2, n)
    critic, residual = residual_nets(data, 5, width=2, generator_width=3, pool="sum")
    assert residual(torch.randn(2, 5)).shape == images.shape
    assert critic(images).shape == (2, critic.features)
    encoder, decoder, deep = deep_nets(data, 5, width=2)
    assert deep(torch.randn(2, 5)).shape == images.shape
    codes = encoder(images)
    assert codes.shape[2:] == (8, 8) and decoder(codes).shape == images.shape


def convolutions(net: nn.Module) -> list[tuple[int, int]]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return [(m.in_channels, m.out_channels) for m in net.modules() if isinstance(m, kinds)]


def test_the_deep_nets_of_64_are_the_paper_s():
    encoder, decoder, deep = deep_nets(DataSpec(name="x", shape=(3, 64, 64)), 100, width=64)
    assert convolutions(encoder) == [(3, 64), (64, 128), (128, 256)]
    assert convolutions(decoder) == [(256, 128), (128, 64), (64, 3)]
    assert convolutions(deep) == [(1024, 512), (512, 256), (256, 128), (128, 3)]


def test_the_residual_nets_of_128_are_miyato_s():
    data = DataSpec(name="x", shape=(3, 128, 128))
    critic, made = residual_nets(data, 128, width=64, generator_width=64, pool="sum")
    assert [b.conv2.out_channels for b in made.blocks] == [1024, 512, 256, 128, 64] and made.width == 1024
    assert [b.conv2.out_channels for b in critic.blocks] == [64, 128, 256, 512, 1024, 1024]
    assert [b.halves for b in critic.blocks] == [True] * 5 + [False]


def test_nets_of_32_draw_the_weights_that_they_always_drew():
    """Layer by layer as they were before other sides had nets, under one seed."""
    torch.manual_seed(1)
    generated = Generator(5, 3, 4).state_dict()
    torch.manual_seed(1)
    first = nn.Linear(5, 32 * 16)
    ups = [(nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b)) for a, b in ((32, 16), (16, 8), (8, 4))]
    plain = [first, *(m for pair in ups for m in pair), nn.Conv2d(4, 3, 3, padding=1)]
    assert _same(generated, plain)
    torch.manual_seed(1)
    seen = Trunk(3, 4).state_dict()
    torch.manual_seed(1)
    sizes = [
        (3, 4, 3, 1),
        (4, 4, 4, 2),
        (4, 8, 3, 1),
        (8, 8, 4, 2),
        (8, 16, 3, 1),
        (16, 16, 4, 2),
        (16, 32, 3, 1),
    ]
    assert _same(seen, [nn.Conv2d(a, b, kernel, stride, 1) for a, b, kernel, stride in sizes])


def _same(state: dict[str, torch.Tensor], layers: list[nn.Module]) -> bool:
    plain = [value for layer in layers for value in layer.state_dict().values()]
    return len(plain) == len(state) and all(map(torch.equal, state.values(), plain))
