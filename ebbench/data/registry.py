"""The data sets that there are: names, sizes, SHA-256, addresses. Adding one is adding an entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a file must hold: its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One packed file of a data set, as published.

    `plain` is the same file unpacked, which is as good: many users have only that. Its name is the
    published one without `.gz`. An archive of many files has no such form.
    """

    name: str
    packed: Content
    plain: Content | None = None

    @property
    def forms(self) -> dict[str, Content]:
        """The accepted file names and what each must hold."""
        unpacked = {self.name.removesuffix(".gz"): self.plain} if self.plain else {}
        return {self.name: self.packed} | unpacked


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set: its files, where they can be had, and where others keep them.

    `mirrors` are addresses, tried in order, in which `{file}` stands for the file's name. `folders`
    are sub-folders in which other tools keep the same files (torchvision's "MNIST/raw").
    """

    name: str
    title: str
    source: str
    files: tuple[DataFile, ...]
    mirrors: tuple[str, ...]
    folders: tuple[str, ...] = ()


def _file(name: str, packed: tuple[int, str], plain: tuple[int, str]) -> DataFile:
    return DataFile(
        name=name,
        packed=Content(size=packed[0], sha256=packed[1]),
        plain=Content(size=plain[0], sha256=plain[1]),
    )


DATASETS: Mapping[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="mnist",
            title="MNIST handwritten digits, 60,000 + 10,000 images of 28x28",
            source="LeCun, Cortes, Burges: the MNIST database (the four idx files)",
            files=(
                _file(
                    "train-images-idx3-ubyte.gz",
                    packed=(9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
                    plain=(47040016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
                ),
                _file(
                    "train-labels-idx1-ubyte.gz",
                    packed=(28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
                    plain=(60008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
                ),
                _file(
                    "t10k-images-idx3-ubyte.gz",
                    packed=(1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
                    plain=(7840016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
                ),
                _file(
                    "t10k-labels-idx1-ubyte.gz",
                    packed=(4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
                    plain=(10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
                ),
            ),
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/{file}",
                "https://storage.googleapis.com/cvdf-datasets/mnist/{file}",
            ),
            folders=("MNIST/raw", "raw"),
        ),
        Dataset(
            name="kdd99",
            title="KDD Cup 1999, 10 percent: 494,021 connections, 41 columns and a label",
            source="UCI KDD archive, KDD Cup 1999 (kddcup.data_10_percent)",
            files=(
                _file(
                    "kddcup.data_10_percent.gz",
                    packed=(2144903, "8045aca0d84e70e622d1148d7df782496f6333bf6eb979a1b0837c42a9fd9561"),
                    plain=(74889749, "f8c8267ebcd9c0ed1fd7d6277fe5bfff8732e9b7db8e61b873542b2a534b6f9a"),
                ),
            ),
            mirrors=(
                "https://ndownloader.figshare.com/files/5976042",  # scikit-learn's copy
                "https://archive.ics.uci.edu/ml/machine-learning-databases/kddcup99-mld/{file}",
            ),
        ),
        Dataset(
            name="cifar10",
            title="CIFAR-10, 50,000 + 10,000 colour images of 32x32, the official archive",
            source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
            files=(
                DataFile(
                    name="cifar-10-python.tar.gz",
                    packed=Content(
                        size=170498071,
                        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
                    ),
                ),
            ),
            mirrors=(
                "https://www.cs.toronto.edu/~kriz/{file}",
                "https://storage.googleapis.com/tensorflow/tf-keras-datasets/{file}",
            ),
            folders=("cifar-10", "CIFAR10"),
        ),
        Dataset(
            name="cifar10-batches",
            title="CIFAR-10 unpacked: the six batches of the archive, which are as good as it",
            source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
            files=tuple(
                DataFile(name=name, packed=Content(size=size, sha256=sha256))
                for name, size, sha256 in (
                    (
                        "data_batch_1",
                        31035704,
                        "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
                    ),
                    (
                        "data_batch_2",
                        31035320,
                        "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
                    ),
                    (
                        "data_batch_3",
                        31035999,
                        "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
                    ),
                    (
                        "data_batch_4",
                        31035696,
                        "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
                    ),
                    (
                        "data_batch_5",
                        31035623,
                        "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
                    ),
                    (
                        "test_batch",
                        31035526,
                        "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
                    ),
                )
            ),
            # Part of the archive, which is what is published.
            mirrors=(),
            folders=("cifar-10-batches-py", "cifar10/cifar-10-batches-py"),
        ),
        Dataset(
            name="inception",
            title="Inception-v3 of 2015-12-05 in torch-fidelity's form: the features of IS and FID",
            source="Szegedy et al. (2015), the weights that the scores' authors used; torch-fidelity 0.2.0",
            files=(
                DataFile(
                    name="weights-inception-2015-12-05-6726825d.pth",
                    packed=Content(
                        size=95628359,
                        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
                    ),
                ),
            ),
            mirrors=("https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{file}",),
            folders=("hub/checkpoints", "torch/hub/checkpoints"),
        ),
        Dataset(
            name="cifar10-jpeg75",
            title="CIFAR-10 as JPEG copies of quality 75: 50,000 + 10,000 images of 32x32, lossy",
            source="Krizhevsky, CIFAR-10, in JPEG copies; a score on it is no published CIFAR-10 score",
            files=(
                DataFile(
                    name="cifar10_jpeg_q75.tar.xz",
                    packed=Content(
                        size=18641432,
                        sha256="ffb0746266fea40fb9efcb1cd1eeeba0e90dd66833ccd194f92168931151059e",
                    ),
                ),
            ),
            # Nobody publishes these copies: who has the file imports it.
            mirrors=(),
            folders=("cifar10",),
        ),
    )
}
