"""The project's CIFAR-10 classifier behind torch-fidelity's interface.

A module of its own, because importing torch-fidelity takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from ebbench.metrics.cifar.resnet import WEIGHTS, load


class CifarResNetExtractor(FeatureExtractorBase):  # type: ignore[misc]
    """The classifier as a torch-fidelity extractor; `register_feature_extractor` accepts this class."""

    def __init__(
        self,
        name: str,
        features_list: Sequence[str],
        feature_extractor_weights_path: str | Path = WEIGHTS,
        **_: Any,
    ) -> None:
        super().__init__(name, features_list)
        self.net = load(Path(feature_extractor_weights_path))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The requested features of uint8 images (n, 3, 32, 32): "features" (n, 192), "logits" (n, 10)."""
        features, logits = self.net(x)
        made = {"features": features, "logits": logits}
        return tuple(made[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """The names of features that can be requested."""
        return ("features", "logits")

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """The logits for the inception score, the features for all other metrics."""
        return "logits" if metric == "isc" else "features"

    @staticmethod
    def can_be_compiled() -> bool:
        """False: compiling would not pay off."""
        return False

    @staticmethod
    def get_dummy_input_for_compile() -> Tensor:
        """One image of zeros, uint8 (1, 3, 32, 32)."""
        return torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
