"""The StackedMNIST task for its tests: made of the shipped digits or of MNIST, scored without an engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebbench.contract import Score
from ebbench.data.store import Store
from ebbench.plugins import loader

CPU = torch.device("cpu")


class FakeScoring:
    """What a task sees of the engine: draws from `draw(count, chunk's number)`, keeps pictures.

    With `most` at most that many samples are drawn of those asked for, for sizes out of reach here.
    """

    def __init__(self, draw: Callable[[int, int], Tensor], seed: int = 0, most: int | None = None) -> None:
        self.seed, self.device, self.draw, self.most = seed, CPU, draw, most
        self.pictures: dict[str, np.ndarray] = {}
        self.asked: dict[str, int] = {}
        self.parts: list[dict[str, np.ndarray]] = []

    def samples(
        self, n: int, reduce: Any, *, name: str = "samples", chunk: int = 1000
    ) -> dict[str, np.ndarray]:
        self.asked[name] = n
        n = min(n, self.most or n)
        parts = [
            reduce(self.draw(min(chunk, n - begin), number))
            for number, begin in enumerate(range(0, n, chunk))
        ]
        for begin, part in zip(range(0, n, chunk), parts, strict=True):
            # The features of some samples only.
            assert {len(part[key]) for key in part.keys() - {"features"}} == {min(chunk, n - begin)}
        if name == "samples":
            self.parts = parts
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self.pictures[name] = pixels


def task_class() -> Any:
    return loader.load("task", "stackedmnist").cls


def part_of_task(name: str) -> ModuleType:
    """A module of the task's folder: "task" or "classifier"."""
    return sys.modules[task_class().__module__.rsplit(".", 1)[0] + "." + name]


def make(store: Store | None = None, protocol: str = "clean", **options: Any) -> Any:
    cls = task_class()
    if store is None:
        options.setdefault("source", "digits")
    return cls(cls.Options(**options), protocol, store or Store(offline=True))


@cache
def mnist_task(folder: Path, stacks: int = 2, protocol: str = "clean") -> Any:
    return make(Store(folder), protocol, stacks=stacks)


def real(task: Any, seed: int = 0) -> Callable[[int, int], Tensor]:
    """Real stacks drawn anew, each chunk from its own seed, as the engine does."""
    data = task.data(CPU)
    return lambda n, number: data.fresh(n, torch.Generator().manual_seed(1000 * seed + number))


def score(task: Any, draw: Callable[[int, int], Tensor], **options: Any) -> tuple[Score, FakeScoring]:
    scoring = FakeScoring(draw, **options)
    return task.score(None, scoring), scoring


def images_of(split: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(split[0])[:, None] / 255.0, torch.from_numpy(split[1]).long()
