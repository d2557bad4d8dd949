"""What a model and a task are: all that a plug-in's author needs to know.

A model is a folder with `model.py` (one subclass of `Model`), `card.toml` and `README.md`. A task
is a folder with `task.py` (one subclass of `Task`), `card.toml` and `README.md`. Nothing else in
the project has to change for a new one.

This module imports no torch, so that reading the contract costs nothing.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


# The engine's own version: it rises with any change of the engine that can move a number.
ENGINE = 1

# The capabilities by which a task can score a model.
BOUND = "log_likelihood_bound"


CAPABILITIES = ("sample", "energy", BOUND)


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """The shape and range of one example, all that a model may know before it is trained.

    `shape` leaves out the batch axis: (3, 28, 28) for images, (121,) for records. `low` and
    `high` bound every value (both ends included); None means unbounded.
    """

    name: str
    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None


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

    def fresh(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` real examples drawn from the data's distribution, not from the training pool.

        It serves the control row "real data" (what a perfect model would be given for a score) and methods
        that calibrate themselves. A task that tests single examples keeps its test examples back: there these
        are of the training pool.
        """
        ...


class Curves(Protocol):
    """Numbers along a training: entry i of each series belongs to `step[i]` and `seconds[i]`."""

    step: list[int]
    seconds: list[float]
    # None where a series has no value at that step.
    series: dict[str, list[float | None]]


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
        finiteness. It gives named arrays whose first axis runs over the samples, and must depend on its
        argument alone. Raises ContractError for samples that do not fit.
        """
        ...

    def images(
        self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000
    ) -> dict[str, np.ndarray]:
        """As `samples`, of images rounded to bytes, uint8 (k, *spec.shape); they too come back, as "images"."""
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


class Model:
    """A method: subclass it and implement what the method can do.

    `Config` is a frozen dataclass, every field with a default; a string under each field says its
    unit, its paper and where the default comes from. Nets belong on `self` from `__init__` on, so
    that a stored state can be loaded; optimisers, averages and whatever else must survive an
    interruption belong on `self` before the first `run.batches(...)`.

    The engine moves every `torch.nn.Module` attribute to `self.device` before training, and puts
    it in eval mode before scoring.

    Capabilities are methods; define one, and every task that asks for it can score the model:

    - `sample(self, n) -> Tensor`, float, (n, *data.shape), in the data's range. It is the sampler
      named "generator" unless `@sampler` names it otherwise. Further samplers are methods marked
      `@sampler("mala")`. Keyword-only arguments with defaults are a sampler's knobs
      (`--set mala.steps=100`); they change no training.
    - `energy(self, x) -> Tensor`, (n,), lower is more typical. Further scores are methods marked
      `@score("gradient_norm")`, with the same direction.
    - `log_likelihood_bound(self, x) -> Tensor`, (n,), nats, a lower bound.

    A method that works on another's trained state (a sampler over a GAN, say) names in `builds_on` the
    field of its Config that says which model, and in `base_needs` what it calls of it. The engine takes
    the other's training from the store, or makes it, on the same data with the same budget and seed, and
    puts it on `self.base` before `train`.

    A GAN whose latent space may be searched so offers `z_dim`; `generate(z)`, which turns standard normal
    latents (n, z_dim) into samples; and `logit(x)`, (n,), its discriminator as an estimate, up to scale
    and shift, of log p_data(x) - log p_G(x). Both keep their graph.
    """

    @dataclass(frozen=True)
    class Config:
        """No knobs."""

    # False: nothing is stored and `train` is called again before each scoring. For controls whose
    # "training" is to hold on to the data.
    keeps_state: ClassVar[bool] = True

    builds_on: ClassVar[str] = ""
    base_needs: ClassVar[tuple[str, ...]] = ()
    base: Model

    device: torch.device

    # What the last draw of a sampler was like: acceptance, effective sample size, ... A sampler sets it;
    # the result keeps the mean over the draws beside the sampling speed.
    diagnostics: Mapping[str, float | Tensor]

    def __init__(self, data: DataSpec, config: Any) -> None:
        self.data = data
        self.config = config
        self.diagnostics = {}

    def train(self, data: Data, run: Run) -> None:
        """Fit the model. The loop is the method's own: `for batch in run.batches(...)`."""

    def state_dict(self) -> dict[str, Any]:
        """The state by attribute name: of each attribute that has a `state_dict`, but for the base.

        Override it, and `load_state_dict`, where the state lives elsewhere (arrays of a fitted
        estimator, say). Values are nested dicts, lists and tuples of tensors, arrays and scalars.
        """
        return {
            name: value.state_dict()
            for name, value in vars(self).items()
            if name != "base" and callable(getattr(value, "state_dict", None))
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` gave; attributes that `state` does not name keep their state."""
        for name, part in state.items():
            getattr(self, name).load_state_dict(part)


def sampler(name: str) -> Callable[[F], F]:
    """Mark a method `(self, n, *, knob=default, ...) -> Tensor` as the sampler called `name`."""

    def mark(method: F) -> F:
        method._ebbench_sampler = name  # type: ignore[attr-defined]
        return method

    return mark


def score(name: str) -> Callable[[F], F]:
    """Mark a method `(self, x) -> Tensor (n,)`, lower is more typical, as the score called `name`."""

    def mark(method: F) -> F:
        method._ebbench_score = name  # type: ignore[attr-defined]
        return method

    return mark


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number of a task: its name in results, its unit, and which direction is better.

    A `gate` is 1 where a result may be ranked at all: a row with a seed that has less is shown, said to
    be invalid, and has no rank.
    """

    name: str
    unit: str
    better: Literal["higher", "lower", "neither"]
    doc: str
    primary: bool = False
    gate: bool = False


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of a published table.

    `model` is the plug-in's name where ebbench has one ("wgan-gp", or "wgan-gp:meg-authors" for a
    variant), else "". `metrics` maps a metric to (value, plus-minus or None). `confidence` is
    "verbatim", "quoted" (another paper's table) or "recalled" (not confirmed). `options` says what the
    row holds for: values of task options, of the data's "source", of the model's Config, or of the
    sampler's knobs ("ddls.calibrated"). `protocol` is the one that it holds for, "" for each.
    """

    label: str
    metrics: Mapping[str, tuple[float, float | None]]
    source: str
    confidence: Literal["verbatim", "quoted", "recalled"]
    model: str = ""
    sampler: str = ""
    protocol: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def row(
        cls,
        label: str,
        metrics: Mapping[str, float | tuple[float, float | None]],
        source: str,
        confidence: Literal["verbatim", "quoted", "recalled"] = "verbatim",
        **rest: Any,
    ) -> Published:
        """A row with its numbers as they are printed: a value alone has no plus-minus."""
        pairs = {k: value if isinstance(value, tuple) else (value, None) for k, value in metrics.items()}
        return cls(label=label, metrics=pairs, source=source, confidence=confidence, **rest)


@dataclass(frozen=True)
class Score:
    """What a task makes of a model: the metrics by name, and JSON details for the result's page."""

    metrics: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)


def mean_score(parts: Mapping[str, Score]) -> Score:
    """The mean of each metric over the parts that have it; of one part, its own score with its details."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    values: dict[str, list[float]] = {}
    for score in parts.values():
        for name, value in score.metrics.items():
            values.setdefault(name, []).append(value)
    return Score({name: sum(found) / len(found) for name, found in values.items()})


class Task(abc.ABC):
    """A question with a number for an answer: data, protocols, and a score.

    `Options` is a frozen dataclass of what a user may set (`--set stacks=4`). `protocols` maps a
    protocol's name to its description in words; the first is the default. `version` rises with any
    change that can move a score.
    """

    @dataclass(frozen=True)
    class Options:
        """No options."""

    version: ClassVar[int]
    protocols: ClassVar[Mapping[str, str]]
    needs: ClassVar[str]
    # All that the task may score; an instance may set those of its own options.
    metrics: tuple[Metric, ...]
    published: ClassVar[tuple[Published, ...]] = ()

    # Set by the task's __init__: which data it found, and the SHA-256 of each file by name.
    source: str
    data_hashes: Mapping[str, str]

    def __init__(self, options: Any, protocol: str, store: Store) -> None:
        self.options = options
        self.protocol = protocol
        self.store = store

    @abc.abstractmethod
    def data_key(self) -> dict[str, Any]:
        """Beside `data_hashes`, all that determines the training data (JSON values).

        Two protocols that train on the same data must give the same key: the training is shared.
        """

    @abc.abstractmethod
    def spec(self) -> DataSpec:
        """The shape and range of an example; reads no data, unless a part's own data settle the shape."""

    @abc.abstractmethod
    def data(self, device: torch.device) -> Data:
        """The training data, on `device`."""

    @abc.abstractmethod
    def score(self, model: Model, scoring: Scoring) -> Score:
        """Score a trained model: `scoring.samples(...)` draws from it, in chunks that resume.

        `scoring.scores(x)` gives every named score of the examples `x`; `scoring.declared` is the one
        that the model's card declares for this task.
        """

    def evaluate(self, model: Model, scoring: Scoring) -> Mapping[str, float]:
        """Numbers taken along training: of the untrained model and after each epoch.

        A task that wants them overrides this; they come back as `scoring.evaluations`, a curve a
        name. Each is taken when it is due and never again, so they belong to the training.
        """
        return {}

    def parts(self, seed: int) -> Mapping[str, Task]:
        """The trainings that make one score: a task a part, by name. By default the task itself.

        Each part is trained and scored as a task of its own, under the same seed. A task whose data
        depend on the seed (a random split) gives a copy of itself that knows it.
        """
        return {"": self}

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """One score from those of the parts, by name. By default the only part's."""
        (only,) = scores.values()
        return only
