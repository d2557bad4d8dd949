"""What the engine passes to a plug-in: data, a training in progress, a scoring in progress, the data store.

Plug-ins use these interfaces and never create them. The engine's own classes have these methods and more.
This module does not import torch, so importing it is cheap.
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
    """The shape and range of one example: all that a model may know before training.

    `shape` excludes the batch axis: (3, 28, 28) for images, (121,) for vectors. `low` and `high` are
    inclusive bounds of every value; None means unbounded. `classes` is the number of classes if the task asks
    for an example's class, else 0.
    """

    name: str
    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None
    # Not part of the repr, because fingerprints of stored trainings use the repr of specs without classes.
    classes: int = field(default=0, repr=False)


class Data(Protocol):
    """Training data on one device, accessed by index."""

    spec: DataSpec

    @property
    def device(self) -> torch.device:
        """The device that holds the examples."""
        ...

    def __len__(self) -> int:
        """The number of training examples."""
        ...

    def __getitem__(self, index: Tensor) -> Tensor:
        """The examples at `index` (int64, (n,), on the data's device): float32 (n, *spec.shape)."""
        ...


class Labelled(Data, Protocol):
    """Training data with class labels for some examples; models get labels if `spec.classes` is not 0."""

    # int64 (n,) on the data's device: the class of each example, from 0, or -1 without a label.
    labels: Tensor


class Law(Data, Protocol):
    """Training data that can also draw fresh examples, which would solve most tasks.

    Only the project's own controls get it. If the density is known, there is also a method `log_density(x)`,
    (n,), nats.
    """

    def fresh(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw `n` real examples from the data's distribution that are not from the training pool.

        They serve the control "real data", which shows the score of a perfect model. A task that tests single
        examples keeps its test examples to itself; there these examples are from the training pool.
        """
        ...


class Curves(Protocol):
    """Numbers logged during training: entry i of each series belongs to `step[i]` and `seconds[i]`."""

    step: list[int]
    seconds: list[float]
    # None if a series has no value at that step.
    series: dict[str, list[float | None]]


# A model's training step: takes a batch and numbers, returns the tensors to log.
Step = Callable[..., "dict[str, Tensor]"]


class Run(Protocol):
    """The engine's interface to a method during training."""

    @property
    def device(self) -> torch.device:
        """The device of the model's networks and of its batches."""
        ...

    @property
    def progress(self) -> float:
        """The completed share of the current loop, from 0 to 1, for schedules."""
        ...

    @property
    def epoch_ends(self) -> bool:
        """Whether the current step is the last of an epoch or of its loop."""
        ...

    def batches(
        self, data: Data, *, size: int, steps: int | None = None, epochs: int | None = None
    ) -> Iterator[Tensor]:
        """Iterate over batches of real examples, float32 (size, *data.spec.shape), one per training step.

        With `steps`, each batch is drawn with replacement. With `epochs`, the data are reshuffled for each
        epoch, and the incomplete last batch is dropped. An interrupted loop resumes from a checkpoint: state
        that must survive belongs on the model, with a `state_dict`, before the loop begins. Several loops may
        follow one another. Raises ContractError for a batch larger than the data, or for both or neither of
        steps and epochs.
        """
        ...

    def captured(self, step: Step) -> Step:
        """The training `step` as one CUDA graph if the device supports it, else `step` itself.

        `step` takes a batch of fixed size and numbers that change between steps (a weight, say), and returns
        the tensors to log. It may only read state on the model and must not wait for the value of a tensor.
        Call the returned step in the loop over `batches`.
        """
        ...

    def log(self, **scalars: Tensor | float) -> None:
        """Log this step's scalars to the curves and the progress line, without waiting for tensors."""
        ...


Reduce = Callable[["Tensor"], Mapping[str, "np.ndarray"]]


class Scoring(Protocol):
    """The engine's interface to a task while it scores a trained model."""

    @property
    def seed(self) -> int:
        """The run's seed."""
        ...

    @property
    def device(self) -> torch.device:
        """The device of samples, and of the model's scores."""
        ...

    @property
    def sampler(self) -> str:
        """The name of the sampler that is scored; "" without one."""
        ...

    @property
    def declared(self) -> str:
        """The score that the model's card declares for this task; "" if the task needs no energy."""
        ...

    @property
    def evaluations(self) -> Curves:
        """The values that `Task.evaluate` returned during training."""
        ...

    def note(self, text: str) -> None:
        """Show one line to the user."""
        ...

    def samples(
        self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000
    ) -> dict[str, np.ndarray]:
        """Draw `n` samples and return what `reduce` makes of them, concatenated over chunks.

        `reduce` gets at most `chunk` samples, float32 (k, *spec.shape), checked for shape, range and
        finiteness. It returns named arrays whose first axis runs over these samples, or over some of them,
        and must depend on its argument only. Each draw of a score has a `name` of its own. Raises
        ContractError for samples that do not fit, and for a second draw of one name.
        """
        ...

    def images(
        self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000
    ) -> dict[str, np.ndarray]:
        """As `samples`, for images rounded to bytes, uint8 (k, *spec.shape); also returns them as
        "images"."""
        ...

    def scored_by(self, name: str) -> bool:
        """Whether the model has the score `name`."""
        ...

    def scores(
        self, x: Tensor, *, chunk: int = 1024, only: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Every named score of the examples `x`, (n, *spec.shape): float64 (n,), lower is more typical.

        `only` selects scores by name. A lower bound on the log-likelihood has its sign flipped. Raises
        ContractError for scores that are not one finite number per example.
        """
        ...

    def picture(self, name: str, pixels: np.ndarray) -> None:
        """Keep a picture, uint8 (height, width, 3), to be written beside the result as `name`.png."""
        ...


@dataclass(frozen=True, kw_only=True)
class FileStatus:
    """The state of one data file: `path` is None if it is missing, `found` says what is wrong with it."""

    dataset: str
    file: str
    size: int
    sha256: str
    state: Literal["ok", "missing", "bad"]
    path: Path | None = None
    place: str = ""
    found: str = ""


class Store(Protocol):
    """A task's access to its data files; every file is checked by SHA-256 first."""

    # The only folder to search, if the user has named one.
    data_dir: Path | None

    def path(self, dataset: str, file: str) -> Path:
        """The verified file called `file`, downloaded if necessary. Raises DataError and StorageError."""
        ...

    def paths(self, dataset: str) -> dict[str, Path]:
        """Every file of a data set by its published name; see `path`."""
        ...

    def hashes(self, dataset: str) -> dict[str, str]:
        """SHA-256 of each published file, whichever form of it is used."""
        ...

    def survey(self, dataset: str) -> list[FileStatus]:
        """What is available of a data set. Reads and checks every file; changes nothing."""
        ...
