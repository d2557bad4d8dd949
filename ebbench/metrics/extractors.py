"""The feature networks of FID and related metrics: Inception-v3, or the project's CIFAR-10 classifier."""

from __future__ import annotations

import sys
from typing import Literal

import torch

from ebbench.contract import Store
from ebbench.errors import DataError
from ebbench.metrics import features
from ebbench.metrics.cifar import resnet

Name = Literal["inception", "cifar-resnet"]
INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
# The network's suffix in metric names, and its title in descriptions.
SUFFIX = {"inception": "", resnet.NAME: "_cifar"}
TITLE = {"inception": "Inception-v3", resnet.NAME: "the project's CIFAR-10 classifier"}


def chosen(asked: Literal["auto", "inception", "cifar-resnet"], store: Store) -> Name:
    """The network to use: `asked`, where "auto" is Inception if its weights are here, else `cifar-resnet`.

    A note on stderr says when "auto" falls back. Raises DataError if weights are missing or altered, before
    training and not after it.
    """
    name: Name
    if asked != "auto":
        name = asked
    else:
        (weights,) = store.survey("inception")
        name = "cifar-resnet" if weights.state == "missing" else "inception"
        if name == "cifar-resnet":
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
    if name == "inception":
        store.path("inception", INCEPTION_WEIGHTS)
    else:
        found = resnet.digest() if resnet.WEIGHTS.exists() else "no file"
        if found != resnet.SHA256:
            raise DataError(
                f"the weights of {resnet.NAME} are not those that this task scores by",
                where=str(resnet.WEIGHTS),
                expected=f"SHA-256 {resnet.SHA256}; found {found}",
                fix="take the file from the repository: other weights would score otherwise",
            )
    return name


def extractor(name: str, store: Store, device: torch.device) -> features.Extractor:
    """The network called `name`, on `device`. "cifar-resnet" accepts 32x32 images only."""
    if name == "inception":
        # The store checks the hash before the file is loaded.
        path = store.path("inception", INCEPTION_WEIGHTS)
        (digest,) = store.hashes("inception").values()
        return features.inception(path, digest, device)
    # This import takes seconds.
    from ebbench.metrics.cifar.fidelity import CifarResNetExtractor

    net = CifarResNetExtractor(resnet.NAME, ["features", "logits"])
    return features.Extractor(resnet.NAME, net.to(device), resnet.digest())
