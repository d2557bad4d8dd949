"""Extracts features of 8-bit images with a fixed network, once per set, for IS, FID and related metrics.

The network is one of torch-fidelity's extractors, or has their interface and can be registered there (as the
tests do), so that torch-fidelity can compute the same number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ebbench.metrics import image
from ebbench.storage import arrays
from ebbench.storage.files import home
from ebbench.storage.hashing import content_hash

# Images per forward pass. Fixed, since a convolution's order of summation may depend on it.
BATCH = 64


@dataclass(frozen=True)
class Extractor:
    """A network that maps uint8 images (n, 3, h, w) to features (n, d) and logits (n, classes).

    `sha256` is the hash of its weights. The network is in eval mode, on its device, in float32.
    """

    name: str
    net: nn.Module
    sha256: str

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of any number of images, on the CPU, in passes of fixed size."""
        made = [self.net(part) for part in torch.split(images, BATCH)]
        features, logits = (torch.cat([part[i].float().cpu() for part in made]) for i in range(2))
        return features, logits


def inception(path: Path, sha256: str, device: torch.device) -> Extractor:
    """Inception-v3 of 2015-12-05 by torch-fidelity: pool features (n, 2048), unbiased logits (n, 1008).

    Loading `path` executes part of it (a pickle), so the caller must have checked its `sha256`.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    net = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
    )
    return Extractor("inception", net.to(device), sha256)


def reference(
    images: Tensor,
    extractor: Extractor,
    key: Mapping[str, Any],
    device: torch.device,
    note: Callable[[str], None],
) -> image.Reference:
    """Features of real images (k, 3, h, w) with moments and radii, cached in ebbench's home folder.

    `key` identifies the images by the hashes of their data; the weights' hash is added. A name alone would
    not identify them. `note` receives a message if the features must be computed.
    """
    digest = content_hash({"data": dict(key), "extractor": extractor.sha256, "batch": BATCH})
    path = home() / "references" / f"{digest}.npz"
    stored = arrays.kept(path)
    # A damaged file, or one of an older version, is computed again.
    if stored is not None and {"features", "mean", "covariance", "radii", "wide_radii"} <= stored.keys():
        features, radii, wide = (
            torch.from_numpy(stored[name]) for name in ("features", "radii", "wide_radii")
        )
        return image.Reference(features, (stored["mean"], stored["covariance"]), radii, wide)
    note(
        f"taking the features of {len(images):,} real images by {extractor.name}: they are kept, for this "
        "and later scores on this machine"
    )
    made = image.reference(
        torch.cat([extractor(part.to(device))[0] for part in torch.split(images, 16 * BATCH)]), device
    )
    mean, covariance = made.moments
    measured = {
        "features": made.features.numpy(),
        "mean": mean,
        "covariance": covariance,
        "radii": made.radii.numpy(),
        "wide_radii": made.wide_radii.numpy(),
    }
    arrays.keep(path, measured, what="the features of the reference")
    return made
