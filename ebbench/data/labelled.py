"""Partly labelled training data: what a task holds, and what a model gets of it."""

from __future__ import annotations

import torch
from torch import Tensor

from ebbench.contract import Data, DataSpec
from ebbench.data.pool import Given, Pool
from ebbench.errors import ContractError


class LabelledPool(Pool):
    """A pool with `labels`, int64 (n,): the class of each example, from 0, or -1 without a label.

    Raises ContractError for labels that do not fit the examples or the spec's number of classes.
    """

    def __init__(self, examples: Tensor, labels: Tensor, spec: DataSpec, device: torch.device) -> None:
        super().__init__(examples, None, spec, device)
        if labels.shape != (len(examples),) or labels.dtype != torch.int64:
            raise ContractError(
                f"the labels are {labels.dtype} {tuple(labels.shape)}",
                where="LabelledPool",
                expected=f"int64 ({len(examples)},)",
            )
        if len(labels) and (int(labels.min()) < -1 or int(labels.max()) >= spec.classes):
            raise ContractError(
                f"the labels run from {int(labels.min())} to {int(labels.max())}",
                where="LabelledPool",
                expected=f"-1 (no label) to {spec.classes - 1}, as DataSpec.classes = {spec.classes} says",
            )
        self.labels = labels.to(device)


class GivenLabelled(Given):
    """What a model gets of labelled training data: the examples, and the labels of the labelled ones."""

    def __init__(self, data: Data, labels: Tensor) -> None:
        super().__init__(data)
        # A copy, since a model may change it in place.
        self.labels = labels.clone()


def given(data: Data) -> Given:
    """What a model gets of training data; it includes labels only if the spec has classes.

    Raises ContractError as `labels_of` does.
    """
    labels = labels_of(data)
    return Given(data) if labels is None else GivenLabelled(data, labels)


def labels_of(data: Data) -> Tensor | None:
    """The labels of training data, int64 (n,); None if the spec has no classes.

    Raises ContractError for data with classes but without labels.
    """
    if not data.spec.classes:
        return None
    labels = getattr(data, "labels", None)
    if not isinstance(labels, Tensor):
        raise ContractError(
            f"the data have {data.spec.classes} classes and no labels",
            where=f"data() of the task whose spec is '{data.spec.name}'",
            expected="labels: int64 (n,), -1 where an example has none",
            fix="give a LabelledPool (ebbench.data.labelled), or leave `classes` out of the DataSpec",
        )
    return labels
