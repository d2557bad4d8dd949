"""What the engine hands to a plug-in: data, a training in progress, a scoring in progress, the data files.

A plug-in's author reads these and never makes one. The engine's own classes have these methods and more.
This module imports no torch, so that reading it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """The shape and range of one example, all that a model may know before it is trained.

    `shape` leaves out the batch axis: (3, 28, 28) for images, (121,) for records. `low` and
    `high` bound every value (both ends included); None means unbounded. `classes` is the number of classes
    where the task asks for an example's class; 0 where it asks for none.
    """

    name: str
    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None
    # Out of the repr: the fingerprints of stored trainings hold that of a spec without classes.
    classes: int = field(default=0, repr=False)


class Data(Protocol):
    """Training data that lives on one device and is indexed there."""

    spec: DataSpec

    @property
    def device(self) -> torch.device:
        """The device that holds the examples."""
        ...

    def __len__(self) -> int:
        """The number of training examples."""
        ...

    def __getitem__(self, index: Tensor) -> Tensor:
        """The examples at `index` (int64, (n,), on the data's device): float32, (n, *spec.shape)."""
        ...


class Labelled(Data, Protocol):
    """Training data with the class of some examples, given where `spec.classes` is not 0."""

    # int64 (n,) on the data's device: the class of each example, from 0 on; -1 where it has no label.
    labels: Tensor


class Law(Data, Protocol):
    """Training data that can also give others of their kind: the answer to most tasks.

    Only the project's own controls are given it. Where the density is known too, there is a method
    `log_density(x)`, (n,), nats.
    """

    def fresh(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` real examples drawn from the data's distribution, not from the training pool.

        It serves the control row "real data": what a perfect model would be given for a score. A task that
        tests single examples keeps its test examples back: there these are of the training pool.
        """
        ...


class Curves(Protocol):
    """Numbers along a training: entry i of each series belongs to `step[i]` and `seconds[i]`."""

    step: list[int]
    seconds: list[float]
    # None where a series has no value at that step.
    series: dict[str, list[float | None]]


# What a model does in a step: takes a batch and numbers, gives what is logged.
Step = Callable[..., "dict[str, Tensor]"]


class Run(Protocol):
    """What a method sees of the engine while it trains."""

    @property
    def device(self) -> torch.device:
        """Where the model's nets are, and where its batches lie."""
        ...

    @property
    def progress(self) -> float:
        """How much of the present loop is done, from 0 to 1: for schedules."""
        ...

    @property
    def epoch_ends(self) -> bool:
        """Whether the present step is the last of a pass over the data or of its loop."""
        ...

    def batches(
        self, data: Data, *, size: int, steps: int | None = None, epochs: int | None = None
    ) -> Iterator[Tensor]:
        """Batches of real examples, float32 (size, *data.spec.shape), a step each; they survive a stop.

        With `steps`, each batch is drawn with replacement. With `epochs`, the data are shuffled anew for
        each epoch, and the incomplete last batch is left out. What must survive an interruption belongs on
        the model, with a `state_dict`, before the loop begins. Several loops may follow one another.
        Raises ContractError for a batch larger than the data, or for both or neither of steps and epochs.
        """
        ...

    def captured(self, step: Step) -> Step:
        """The training `step` as one CUDA graph, where the device can; elsewhere `step` itself.

        `step` takes a batch of one size, and numbers that change from step to step (a weight), and gives the
        tensors to log. All that it reads lies on the model, and it waits for no value of a tensor. Use the
        step that comes back in the loop over `batches`.
        """
        ...

    def log(self, **scalars: Tensor | float) -> None:
        """Give this step's scalars to the curves and the progress line. Tensors are not waited for."""
        ...


Reduce = Callable[["Tensor"], Mapping[str, "np.ndarray"]]


class Scoring(Protocol):
    """What a task sees of the engine while it scores a trained model."""

    @property
    def seed(self) -> int:
        """The run's seed."""
        ...

    @property
    def device(self) -> torch.device:
        """Where samples come from, and where the model's scores are taken."""
        ...

    @property
    def sampler(self) -> str:
        """The name of the sampler that is scored; "" where there is none."""
        ...

    @property
    def declared(self) -> str:
        """The score that the model's card declares for this task; "" where the task asks for no energy."""
        ...

    @property
    def evaluations(self) -> Curves:
        """What `Task.evaluate` gave along the training."""
        ...

    def note(self, text: str) -> None:
        """One line for who waits."""
        ...

    def samples(
        self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000
    ) -> dict[str, np.ndarray]:
        """Draw `n` samples; give what `reduce` makes of them, concatenated over the chunks.

        `reduce` is given at most `chunk` samples, float32 (k, *spec.shape), checked for shape, range and
        finiteness. It gives named arrays whose first axis runs over these samples, or over some of them,
        and must depend on its argument alone. Raises ContractError for samples that do not fit.
        """
        ...

    def images(
        self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000
    ) -> dict[str, np.ndarray]:
        """As `samples`, of images rounded to bytes, uint8 (k, *spec.shape); they come back as "images"."""
        ...

    def scored_by(self, name: str) -> bool:
        """Whether the model has the score `name`."""
        ...

    def scores(
        self, x: Tensor, *, chunk: int = 1024, only: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Every named score of the examples `x`, (n, *spec.shape): float64 (n,), lower is more typical.

        `only` names those that are wanted. A lower bound of the log-likelihood comes with its sign turned.
        Raises ContractError for scores that are not one finite number an example.
        """
        ...

    def picture(self, name: str, pixels: np.ndarray) -> None:
        """Keep a picture, uint8 (height, width, 3), to be written beside the result as `name`.png."""
        ...


@dataclass(frozen=True, kw_only=True)
class FileStatus:
    """What is here of one data file: `path` is None when it is missing, `found` says what is wrong."""

    dataset: str
    file: str
    size: int
    sha256: str
    state: Literal["ok", "missing", "bad"]
    path: Path | None = None
    place: str = ""
    found: str = ""


class Store(Protocol):
    """Where a task finds its data files; every file is checked by SHA-256 before it is given."""

    # The one folder that is searched, where the user named one.
    data_dir: Path | None

    def path(self, dataset: str, file: str) -> Path:
        """The verified file called `file`, downloaded if need be. Raises DataError and StorageError."""
        ...

    def paths(self, dataset: str) -> dict[str, Path]:
        """Every file of a data set by its published name; as `path`."""
        ...

    def hashes(self, dataset: str) -> dict[str, str]:
        """The SHA-256 of each published file, whichever form of it is in use."""
        ...

    def survey(self, dataset: str) -> list[FileStatus]:
        """What is here of a data set. Every file is read and checked; nothing is changed."""
        ...
