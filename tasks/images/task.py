"""Images of 32 to 256 pixels: quality and diversity of samples, for your own pictures or two photographs.

Fréchet and kernel distance (Heusel et al. 2017; Bińkowski et al. 2018), precision and recall (Kynkäänniemi et
al. 2019), and copies. README.md has recipes for CelebA, LSUN and ImageNet and says which features are
suitable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ebbench import Data, DataError, DataSpec, Limit, Model, Score, Store, Task, UsageError, sheet
from ebbench.data import imagefiles, photographs
from ebbench.data.pool import Pool
from ebbench.metrics import copies, extractors, features, image
from ebbench.metrics.cifar import resnet

from .metrics import COUNTS, MEMORISED, of_features, suffix

if TYPE_CHECKING:
    from ebbench import Scoring

# Fewer pictures do not define a distribution to learn, and their covariance is meaningless.
LEAST = 100
# One picture in HELD_OUT is held out, drawn once with a fixed seed.
HELD_OUT, SPLIT_SEED = 10, 0
# Pixels per chunk of samples: a thousand 32x32 images, fifteen 256x256 images.
CHUNK = 1000 * 32**2
# Maximum width of a sheet of samples in pixels, and its maximum number of columns.
WIDE, COLUMNS = 768, 10
# Number of samples shown with their nearest training images, how many of those, and their maximum side.
SHOWN, NEAREST, THUMBNAIL = 10, 5, 64
# Number of training images whose distances to their nearest other image define a copy, and the minimum of
# that distance, which compression and rounding to bytes can cause.
COMPARED, LEAST_COPY = 1000, 0.05


class Shrunk(nn.Module):
    """Adapts a network for 32x32 images to larger ones: it sees means over squares, rounded to bytes."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        """The network's output for uint8 images (n, 3, s, s), s a multiple of 32."""
        return self.net(avg_pool2d(x.float(), x.shape[-1] // 32).round().to(torch.uint8))


class Images(Task):
    """FID, KID, precision and recall of samples, compared with the training pictures."""

    @dataclass(frozen=True)
    class Options:
        path: str = ""
        """A folder or zip file of pictures, at any depth; "" uses squares of scikit-learn's two photographs.
        A path that does not exist as given is looked up in the data folder."""
        size: Literal[32, 64, 128, 256] = 64
        """Side in pixels to which every picture is resized."""
        crop: Literal["centre", "celeba"] = "centre"
        """The largest central square, or ("celeba") the central 108x108 pixels of CelebA's aligned images."""
        pictures: int = 0
        """Maximum number of pictures, spread evenly over their sorted names; 0 uses all."""
        samples: Literal[50_000, 10_000, 5_000, 1_000] = 5_000
        """Number of samples to score; the metric's name contains it if it is below 50,000 (fid_5k)."""
        features: Literal["auto", "inception", "cifar-resnet"] = "auto"
        """Network whose features are compared; "auto" is Inception if its weights are available."""

    version = 1
    protocols: ClassVar[dict[str, str]] = {
        "train-reference": "compared with the pictures that were trained on, nine in ten of all"
    }
    needs = "sample"
    metrics = (
        *(metric for name in ("inception", resnet.NAME) for n in COUNTS for metric in of_features(name, n)),
        MEMORISED,
    )
    limits = (Limit(metric="share_memorised", most=0.5, why="most of it are copies of training images"),)

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        self.files: imagefiles.Pictures | None = None
        if options.pictures < 0:
            raise UsageError(
                f"{options.pictures} pictures", where="option 'pictures' of task images", expected="0 or more"
            )
        extractor = extractors.chosen(options.features, store)
        path = options.path
        if path:
            self.files = imagefiles.listed(imagefiles.locate(path, store.data_dir))
            digest = imagefiles.digest(self.files)
            name = self.files.path.resolve().name
            # The result records the pictures' name and content, not their path.
            if Path(path).expanduser().is_absolute() or ".." in Path(path).parts:
                path = name
            self.source = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem) + f"-{digest[:8]}"
            self.data_hashes = {"pictures": digest}
            self._check_count()
        else:
            self.source = "photographs"
            self.data_hashes = photographs.hashes()
            if options.crop != "centre" or options.pictures:
                raise UsageError(
                    "a crop, or a number of pictures, of no pictures",
                    where="options 'crop' and 'pictures' of task images",
                    expected="a path of pictures beside them",
                    fix="add --set path=FOLDER",
                )
        self.options = replace(options, path=path, features=extractor)
        self.metrics = (*of_features(extractor, options.samples), MEMORISED)

    def _check_count(self) -> None:
        assert self.files is not None
        n = len(imagefiles.chosen(self.files.names, self.options.pictures))
        if n < LEAST:
            raise DataError(
                f"{n} pictures are too few",
                where=str(self.files.path),
                expected=f"{LEAST} or more; with less than some thousands a GAN repeats them",
                fix="take a larger set" + (", or more of this one" if self.options.pictures else ""),
            )

    def data_key(self) -> dict[str, Any]:
        """How the pictures are cropped and resized, and which of them are for training."""
        of = self.options
        key: dict[str, Any] = {"size": of.size, "split": "photographs"}
        if of.path:
            key |= {"split": [HELD_OUT, SPLIT_SEED], "crop": of.crop, "pictures": of.pictures}
        return key

    def spec(self) -> DataSpec:
        """Images (3, size, size) with values in [-1, 1]."""
        size = self.options.size
        return DataSpec(name="images", shape=(3, size, size), low=-1.0, high=1.0)

    def data(self, device: torch.device) -> Data:
        """Nine in ten pictures as data; the others are held out for the control `real-data`."""
        train, held_out = self._images
        return Pool(train, held_out, self.spec(), device)

    def score(self, model: Model, scoring: Scoring) -> Score:
        """Draw the samples, extract their features once, and compare them with the training images'."""
        of, device = self.options, scoring.device
        extractor = self.extractor(device)

        def measured(pixels: Tensor) -> dict[str, NDArray[Any]]:
            found, logits = extractor(pixels)
            return {"features": found.numpy(), "logits": logits.numpy()}

        drawn = scoring.images(of.samples, measured, chunk=max(1, CHUNK // of.size**2))
        of_samples, logits = (torch.from_numpy(drawn[name]) for name in ("features", "logits"))
        images, (train, held_out) = drawn["images"], self._images
        key = {"files": dict(self.data_hashes), "source": self.source, **self.data_key()}
        real = features.reference(train, extractor, key, device, scoring.note)
        fewest, size = min(of.samples, len(train)), of_samples.shape[1]
        if fewest <= size:
            scoring.note(
                f"fewer images ({fewest:,}) than features ({size:,}): FID is of a singular covariance"
            )
        found = image.quality(of_samples, logits, real, device)

        columns = min(COLUMNS, WIDE // of.size)
        scoring.picture("samples", sheet(_tiles(images[: columns**2]), columns))
        scoring.picture("nearest", self._nearest(images[:SHOWN], of_samples[:SHOWN], real.features))
        copy = copy_distance(train)
        end = suffix(of.features, of.samples)
        wanted = ("fid", "kid", "precision", "recall")
        return Score(
            {name + end: found[name] for name in wanted}
            | {"share_memorised": copies.share_memorised(torch.from_numpy(images), train, copy)},
            {
                "samples": of.samples,
                "reference": len(train),
                "held_out": len(held_out),
                "distance_of_a_copy": copy,
                "features": size,
                # If True, part of its null space comes from the number of images, not from the model.
                "covariance_is_singular": fewest <= size,
                "extractor": {"name": extractor.name, "sha256": extractor.sha256},
            },
        )

    def extractor(self, device: torch.device) -> features.Extractor:
        """The network whose features are compared, adapted to this image size, on `device`."""
        made = extractors.extractor(self.options.features, self.store, device)
        if made.name == resnet.NAME and self.options.size > 32:
            return replace(made, net=Shrunk(made.net).eval())
        return made

    def _nearest(self, images: NDArray[np.uint8], of_samples: Tensor, of_train: Tensor) -> NDArray[np.uint8]:
        """Each sample beside the training images with the nearest features, to make copies visible."""
        nearest = torch.cdist(of_samples, of_train).topk(NEAREST, largest=False).indices
        beside = self._images[0][nearest].numpy()
        rows = np.concatenate([images[:, None], beside], axis=1).reshape(-1, *images.shape[1:])
        by = self.options.size // THUMBNAIL
        if by > 1:
            rows = avg_pool2d(torch.from_numpy(rows).float(), by).round().to(torch.uint8).numpy()
        return sheet(_tiles(rows), 1 + NEAREST)

    @cached_property
    def _images(self) -> tuple[Tensor, Tensor]:
        of = self.options
        if self.files is None:
            train, held_out = photographs.patches(of.size)
            return torch.from_numpy(train), torch.from_numpy(held_out)
        names = imagefiles.chosen(self.files.names, of.pictures)
        # Shuffle the names, not the images, which are held in memory only once.
        order = np.random.default_rng(SPLIT_SEED).permutation(len(names))
        shuffled = tuple(names[i] for i in order)
        every = torch.from_numpy(imagefiles.load(self.files, shuffled, of.size, of.crop))
        kept_back = len(every) // HELD_OUT
        return every[kept_back:], every[:kept_back]


def copy_distance(train: Tensor) -> float:
    """The distance below which a sample is a copy, for training images uint8 (n, 3, s, s).

    It is the 1 % quantile of the distances of training images to their nearest other training image.
    """
    known = copies.coarse(train)
    step = max(1, len(known) // COMPARED)
    # The nearest image is the image itself, so take the second.
    found = copies.distances(known[::step][:COMPARED], known, 2)
    return max(LEAST_COPY, float(found.quantile(0.01)))


def _tiles(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images.transpose(0, 2, 3, 1)
