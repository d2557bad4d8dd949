"""CIFAR-10: how good and how varied samples are, by the features of a fixed net.

Fréchet inception distance (Heusel et al. 2017), inception score (Salimans et al. 2016), kernel inception
distance (Bińkowski et al. 2018), precision and recall (Kynkäänniemi et al. 2019). README.md says what is
pinned and what the names of the metrics mean.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebbench import Data, DataError, DataSpec, Metric, Model, Published, Score, Store, Task, sheet
from ebbench.data import cifar10
from ebbench.data.pool import Pool
from ebbench.metrics import features, image

from . import resnet

if TYPE_CHECKING:
    from ebbench import Scoring

CHUNK = 1000
SHEET = 10
# Samples whose nearest training images are drawn, and how many of those.
SHOWN, NEAREST = 10, 5
COUNTS = (50_000, 10_000, 5_000, 1_000)
INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
# The published rows are Inception's, of 50,000 samples.
EXACT: dict[str, Any] = {"features": "inception", "samples": 50_000, "source": "cifar10"}

EN_GAN = "Kumar et al., EnGAN (ICLR 2019 submission, first version of MEG), CIFAR-10 table"
MEG = "Kumar et al., MEG (2019), Table 2"
WGAN_GP = "Gulrajani et al., Improved Training of Wasserstein GANs (2017), Table 3"
DDPM = "Ho et al., Denoising Diffusion Probabilistic Models (2020), Table 1"
MIMICRY = "mimicry (README of the library): 100,000 iterations, 50,000 against 50,000 images"
DDLS = "Che et al., DDLS (2020), as recalled"
CALIBRATED = {"base": "sngan", "ddls.calibrated": True}


def suffix(extractor: str, samples: int) -> str:
    """What the names of metrics end in: nothing for Inception and 50,000 samples."""
    of_net = {"inception": "", resnet.NAME: "_cifar"}[extractor]
    return of_net + ("" if samples == COUNTS[0] else f"_{samples // 1000}k")


def _metrics(extractor: str, samples: int) -> tuple[Metric, ...]:
    end = suffix(extractor, samples)
    net = {"inception": "Inception-v3", resnet.NAME: "the project's CIFAR-10 classifier"}[extractor]
    of = f"{samples:,} samples, features of {net}"
    return (
        Metric(
            name=f"fid{end}",
            unit="",
            better="lower",
            primary=True,
            doc=f"Fréchet distance of the features' Gaussians, {of}",
        ),
        Metric(
            name=f"is{end}",
            unit="",
            better="higher",
            primary=True,
            doc=f"inception score: exp E KL(p(y|x) || p(y)), mean over 10 splits, {of}",
        ),
        Metric(
            name=f"kid{end}",
            unit="",
            better="lower",
            doc=f"kernel distance, mean over 100 subsets of 1,000, {of}",
        ),
        Metric(
            name=f"precision{end}",
            unit="share",
            better="higher",
            doc=f"share of samples within reach of a real image, {of}",
        ),
        Metric(
            name=f"recall{end}",
            unit="share",
            better="higher",
            doc=f"share of real images within reach of a sample, {of}",
        ),
    )


class Cifar10(Task):
    """IS, FID and their kin of samples, against the training or the test images."""

    @dataclass(frozen=True)
    class Options:
        samples: Literal[50_000, 10_000, 5_000, 1_000] = 50_000
        """Samples that are scored; fewer than 50,000 are named in the metric (fid_5k)."""
        features: Literal["auto", "inception", "cifar-resnet"] = "auto"
        """The net whose features are compared; "auto" takes Inception where its weights are here."""
        source: Literal["auto", "cifar10", "cifar10-jpeg75"] = "auto"
        """The images; "auto" takes the exact pixels where they are, then the JPEG copies, then a download."""

    version = 1
    protocols: ClassVar[dict[str, str]] = {
        "train-reference": "compared with the 50,000 training images (MEG, WGAN-GP, most of the field)",
        "test-reference": "compared with the 10,000 test images (SN-GAN's code)",
    }
    needs = "sample"
    metrics = tuple(
        metric for name in ("inception", resnet.NAME) for n in COUNTS for metric in _metrics(name, n)
    )
    published: ClassVar[tuple[Published, ...]] = (
        Published.row(
            "Real data (in MEG's table)",
            {"is": (11.24, 0.12), "fid": 7.8},
            EN_GAN,
            model="real-data",
            protocol="train-reference",
            options=EXACT,
        ),
        Published.row(
            "WGAN-GP (run by MEG's authors, first version)",
            {"is": (6.52, 0.08), "fid": 35.85},
            EN_GAN,
            options=EXACT,
        ),
        Published.row(
            "EnGAN generator (first version of MEG)",
            {"is": (6.31, 0.06), "fid": 39.01},
            EN_GAN,
            options=EXACT,
        ),
        Published.row(
            "WGAN-GP (run by MEG's authors)",
            {"is": (6.81, 0.08), "fid": 30.95},
            MEG,
            "recalled",
            options=EXACT,
        ),
        # Their script compares with the training images, and their chains have neither prior nor exact ratio.
        Published.row(
            "MEG",
            {"is": (6.49, 0.05), "fid": 35.02},
            MEG,
            "recalled",
            model="meg",
            sampler="generator",
            protocol="train-reference",
            options=EXACT,
        ),
        Published.row(
            "MEG, latent MCMC",
            {"is": (6.94, 0.03), "fid": 33.85},
            MEG,
            "recalled",
            model="meg",
            sampler="mala",
            protocol="train-reference",
            options=EXACT | {"mala.prior": False, "mala.exact": False},
        ),
        Published.row(
            "WGAN-GP, ResNet", {"is": (7.86, 0.07)}, WGAN_GP, model="wgan-gp:resnet", options=EXACT
        ),
        Published.row(
            "WGAN-GP, ResNet (mimicry)", {"is": (7.33, 0.02), "fid": (22.29, 0.06)}, MIMICRY, options=EXACT
        ),
        Published.row("DCGAN", {"is": (6.16, 0.07)}, WGAN_GP, options=EXACT),
        Published.row("Improved GAN", {"is": (6.86, 0.06)}, WGAN_GP, options=EXACT),
        Published.row("ALI", {"is": (5.34, 0.05)}, WGAN_GP, options=EXACT),
        Published.row("DFM", {"is": (7.72, 0.13)}, WGAN_GP, options=EXACT),
        # The settings that the paper budget has, against the training images.
        Published.row(
            "SN-GAN (mimicry)",
            {"is": (7.97, 0.06), "fid": (16.77, 0.04)},
            MIMICRY,
            model="sngan",
            protocol="train-reference",
            options=EXACT,
        ),
        Published.row("SN-GAN", {"is": (8.22, 0.05)}, DDPM, "quoted", model="sngan", options=EXACT),
        Published.row(
            "SN-GAN + DDLS", {"is": (9.09, 0.10)}, DDPM, "quoted", model="ddls", options=EXACT | CALIBRATED
        ),
        Published.row(
            "SN-GAN + DDLS, not calibrated",
            {"is": (9.05, 0.11)},
            DDLS,
            "recalled",
            model="ddls",
            options=EXACT | CALIBRATED | {"ddls.calibrated": False},
        ),
        # Which images these are compared with no source at hand says: they stand beside no row of ours.
        Published.row("SN-GAN, its FID", {"fid": 21.7}, DDPM, "quoted", options=EXACT),
        Published.row("SN-GAN + DDLS, its FID", {"fid": 15.42}, DDPM, "quoted", options=EXACT),
        Published.row(
            "SN-GAN + DDLS, not calibrated, its FID", {"fid": 15.76}, DDLS, "recalled", options=EXACT
        ),
    )

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        source: Any = options.source
        if source == "auto":
            source = cifar10.source_here(store) or "cifar10"
        extractor: Literal["auto", "inception", "cifar-resnet"] = options.features
        if extractor == "auto":
            (weights,) = store.survey("inception")
            extractor = "cifar-resnet" if weights.state == "missing" else "inception"
            if extractor == "cifar-resnet":
                brought = "`ebbench data fetch inception`"
                if store.data_dir is not None:
                    brought = f"{INCEPTION_WEIGHTS} in the folder of --data-dir"
                print(
                    f"Inception's weights are not here: scoring by the features of {resnet.NAME}, which "
                    f"compare with no published number. {brought}, then "
                    "`ebbench score RUN --features inception`, adds the published metric",
                    file=sys.stderr,
                    flush=True,
                )
        # Before hours of training.
        if extractor == "inception":
            store.path("inception", INCEPTION_WEIGHTS)
        if extractor == resnet.NAME:
            found = resnet.digest() if resnet.WEIGHTS.exists() else "no file"
            if found != resnet.SHA256:
                raise DataError(
                    f"the weights of {resnet.NAME} are not those that this task scores by",
                    where=str(resnet.WEIGHTS),
                    expected=f"SHA-256 {resnet.SHA256}; found {found}",
                    fix="take the file from the repository: other weights would score otherwise",
                )
        self.source = source
        self.options = replace(options, source=source, features=extractor)
        self.data_hashes = cifar10.hashes(store, source)
        self.metrics = _metrics(extractor, options.samples)

    def data_key(self) -> dict[str, Any]:
        """The training split."""
        return {"split": "train"}

    def spec(self) -> DataSpec:
        """Images (3, 32, 32) with values in [-1, 1]."""
        return DataSpec(name="cifar10", shape=(3, 32, 32), low=-1.0, high=1.0)

    def data(self, device: torch.device) -> Data:
        """The training images; the held-out ones are the test images."""
        train, test = self._images
        return Pool(train, test, self.spec(), device)

    def score(self, model: Model, scoring: Scoring) -> Score:
        """Draw the samples, take their features once, and compare them with the reference's."""
        extractor = self.extractor(scoring.device)

        def measured(pixels: Tensor) -> dict[str, NDArray[Any]]:
            found, logits = extractor(pixels)
            return {"features": found.numpy(), "logits": logits.numpy()}

        n = self.options.samples
        drawn = scoring.images(n, measured, chunk=CHUNK)
        of_samples, logits = (torch.from_numpy(drawn[name]) for name in ("features", "logits"))
        train = self.reference("train", extractor, scoring.device, scoring.note)
        real = train
        if self.protocol == "test-reference":
            real = self.reference("test", extractor, scoring.device, scoring.note)
        size = of_samples.shape[1]
        singular = n <= size
        if singular:
            scoring.note(f"fewer samples ({n:,}) than features ({size:,}): FID is of a singular covariance")
        scoring.note(f"comparing {n:,} samples with {len(real.features):,} real images")
        found = image.quality(of_samples, logits, real, scoring.device)

        images = drawn["images"]
        scoring.picture("samples", sheet(_tiles(images[: SHEET**2]), SHEET))
        scoring.picture("nearest", self._nearest(images[:SHOWN], of_samples[:SHOWN], train.features))
        spread = found.pop("is_std")
        end = suffix(self.options.features, n)
        return Score(
            {name + end: value for name, value in found.items()},
            {
                "samples": n,
                "reference": len(real.features),
                "inception_score_spread_over_splits": spread,
                "features": size,
                # Then a part of its null space is the number of samples' doing, not the model's.
                "covariance_is_singular": singular,
                "extractor": {"name": extractor.name, "sha256": extractor.sha256},
            },
        )

    def extractor(self, device: torch.device) -> features.Extractor:
        """The net whose features are compared."""
        if self.options.features == "inception":
            # The store has checked the hash before anything of the file is loaded.
            path = self.store.path("inception", INCEPTION_WEIGHTS)
            (digest,) = self.store.hashes("inception").values()
            return features.inception(path, digest, device)
        from .fidelity import CifarResNetExtractor

        net = CifarResNetExtractor(resnet.NAME, ["features", "logits"])
        return features.Extractor(resnet.NAME, net.to(device), resnet.digest())

    def reference(
        self, split: str, extractor: features.Extractor, device: torch.device, note: Callable[[str], None]
    ) -> image.Reference:
        """The features of the "train" or "test" images; `note` is told when they have to be taken."""
        train, test = self._images
        key = {"files": dict(self.data_hashes), "source": self.source, "split": split}
        return features.reference(train if split == "train" else test, extractor, key, device, note)

    def _nearest(self, images: NDArray[np.uint8], of_samples: Tensor, of_train: Tensor) -> NDArray[np.uint8]:
        """Each sample beside the training images whose features are nearest: copies would show."""
        nearest = torch.cdist(of_samples, of_train).topk(NEAREST, largest=False).indices
        beside = self._images[0][nearest].numpy()
        rows = np.concatenate([images[:, None], beside], axis=1)
        return sheet(_tiles(rows.reshape(-1, *images.shape[1:])), 1 + NEAREST)

    @cached_property
    def _images(self) -> tuple[Tensor, Tensor]:
        source: Any = self.source
        train, test = (cifar10.load(self.store, split, source)[0] for split in ("train", "test"))
        return torch.from_numpy(train), torch.from_numpy(test)


def _tiles(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images.transpose(0, 2, 3, 1)
