"""What a model and a task are: all that a plug-in's author needs to know.

A model is a folder with `model.py` (one subclass of `Model`), `card.toml` and `README.md`. A task
is a folder with `task.py` (one subclass of `Task`), `card.toml` and `README.md`. Nothing else in
the project has to change for a new one.

This module imports no torch, so that reading the contract costs nothing.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from ebbench.interfaces import Curves as Curves
from ebbench.interfaces import Data as Data
from ebbench.interfaces import DataSpec as DataSpec
from ebbench.interfaces import FileStatus as FileStatus
from ebbench.interfaces import Labelled as Labelled
from ebbench.interfaces import Law as Law
from ebbench.interfaces import Reduce as Reduce
from ebbench.interfaces import Run as Run
from ebbench.interfaces import Scoring as Scoring
from ebbench.interfaces import Store as Store

if TYPE_CHECKING:
    import torch
    from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


# The engine's own version: it rises with any change of the engine that can move a number.
ENGINE = 1

# The capabilities by which a task can score a model.
BOUND = "log_likelihood_bound"
CLASSIFY = "classify"


CAPABILITIES = ("sample", "energy", BOUND, CLASSIFY)


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
    - `classify(self, x) -> Tensor`, (n,), whole numbers from 0 to data.classes - 1: the class of each
      example. A task that asks for it gives `train` the classes of some examples as `data.labels`.

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
class Limit:
    """What no honest result has: the metric below `least`, or above `most`.

    A bound is a number, or the name of another metric of the same result; `slack` is taken off the former
    and added to the latter. `why` says in a sentence why nothing lies beyond. A row with a seed beyond a
    limit is shown, said to be invalid, and has no rank.
    """

    metric: str
    why: str
    least: float | str | None = None
    most: float | str | None = None
    slack: float = 0.0

    def broken(self, metrics: Mapping[str, float]) -> str:
        """In words how a result's metrics lie beyond the limit; "" where they do not, or have none of it."""
        value = metrics.get(self.metric)
        for bound, sign, word in ((self.least, -1.0, "below"), (self.most, 1.0, "above")):
            end = metrics.get(bound) if isinstance(bound, str) else bound
            if value is None or end is None:
                continue
            end += sign * self.slack
            # Not `value > end`: a NaN is beyond every limit.
            if not (value - end) * sign <= 0:
                return f"{self.metric} is {value:.6g}, {word} {end:.6g}: {self.why}"
        return ""


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
    limits: ClassVar[tuple[Limit, ...]] = ()
    # How often at most `evaluate` is called after the untrained model, in a training of one loop; 0: after
    # each epoch. A change of it raises the version.
    most_evaluations: ClassVar[int] = 0
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
        """The training data, on `device`; those of a `Law` serve the controls that draw from them.

        A model is given no more of them than `Data` has.
        """

    @abc.abstractmethod
    def score(self, model: Model, scoring: Scoring) -> Score:
        """Score a trained model: `scoring.samples(...)` draws from it, in chunks that resume.

        `scoring.scores(x)` gives every named score of the examples `x`; `scoring.declared` is the one
        that the model's card declares for this task.
        """

    def evaluate(self, model: Model, scoring: Scoring) -> Mapping[str, float]:
        """Numbers taken along training: of the untrained model and after each epoch, or fewer
        (`most_evaluations`), and at the end.

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
