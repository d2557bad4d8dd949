"""The base classes of models and tasks: all that an author of a plug-in needs to know.

A model is a folder with `model.py` (one subclass of `Model`), `card.toml` and `README.md`. A task is a folder
with `task.py` (one subclass of `Task`), `card.toml` and `README.md`. A new one needs no other change in the
project.

This module does not import torch, so importing it is cheap.
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


# The engine's own version: raised with every change of the engine that can change a score.
ENGINE = 1

# The capabilities of a model that tasks can score.
BOUND = "log_likelihood_bound"
CLASSIFY = "classify"


CAPABILITIES = ("sample", "energy", BOUND, CLASSIFY)


class Model:
    """A method: subclass it and implement what the method can do.

    `Config` is a frozen dataclass in which every field has a default. The string under each field states its
    unit, its paper and the origin of the default. `__init__` must create the networks as attributes of
    `self`, so that a stored state can be loaded. Optimisers, averages and everything else that must survive
    an interruption must be attributes before the first `run.batches(...)`.

    The engine moves every `torch.nn.Module` attribute to `self.device` before training, and switches it to
    eval mode before scoring.

    Capabilities are methods. If you define one, every task that needs it can score the model:

    - `sample(self, n) -> Tensor`, float, (n, *data.shape), in the data's range. It is the sampler
      named "generator" unless `@sampler` gives it another name. Further samplers are methods marked
      `@sampler("mala")`. Keyword-only arguments with defaults are the sampler's settings, its knobs
      (`--set mala.steps=100`); they do not affect training.
    - `energy(self, x) -> Tensor`, (n,), lower is more typical. Further scores are methods marked
      `@score("gradient_norm")`, with the same direction.
    - `log_likelihood_bound(self, x) -> Tensor`, (n,), nats, a lower bound.
    - `classify(self, x) -> Tensor`, (n,), integers from 0 to data.classes - 1: the class of each example.
      Tasks that need it give `train` the classes of some examples as `data.labels`.

    A method that needs another model's trained state (a sampler on a GAN, say) sets two class attributes.
    `builds_on` names the field of Config that selects the other model, and `base_needs` lists the methods
    that it calls. The engine loads the other model's training from the store, or runs it, with the same data,
    budget and seed, and sets `self.base` before `train`.

    A GAN that supports search in its latent space has `z_dim`; `generate(z)`, which maps standard normal
    latents (n, z_dim) to samples; and `logit(x)`, (n,), its discriminator as an estimate of log p_data(x) -
    log p_G(x) up to scale and shift. Both must be differentiable.
    """

    @dataclass(frozen=True)
    class Config:
        """No settings."""

    # False: nothing is stored, and `train` is called again before each scoring. For models that train within
    # moments, and controls that only keep the data.
    keeps_state: ClassVar[bool] = True

    builds_on: ClassVar[str] = ""
    base_needs: ClassVar[tuple[str, ...]] = ()
    base: Model

    device: torch.device

    # Diagnostics of a sampler's last draw: acceptance, effective sample size, ... The sampler sets it; the
    # result keeps the mean over draws, beside the sampling speed.
    diagnostics: Mapping[str, float | Tensor]

    def __init__(self, data: DataSpec, config: Any) -> None:
        self.data = data
        self.config = config
        self.diagnostics = {}

    def train(self, data: Data, run: Run) -> None:
        """Fit the model, in a loop of its own: `for batch in run.batches(...)`.

        The engine stores `state_dict()` afterwards, and scores a fresh model that has loaded it. So whatever
        the samplers and scores need must be in the state.
        """

    def state_dict(self) -> dict[str, Any]:
        """The state by attribute name: of every attribute that has a `state_dict`, except the base.

        Override it and `load_state_dict` if the state lives elsewhere (arrays of a fitted estimator, say).
        Values are nested dicts, lists and tuples of tensors, arrays and scalars.
        """
        return {
            name: value.state_dict()
            for name, value in vars(self).items()
            if name != "base" and callable(getattr(value, "state_dict", None))
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned; attributes that are not in `state` are unchanged."""
        for name, part in state.items():
            getattr(self, name).load_state_dict(part)


def sampler(name: str) -> Callable[[F], F]:
    """Decorator: mark a method `(self, n, *, knob=default, ...) -> Tensor` as the sampler `name`."""

    def mark(method: F) -> F:
        method._ebbench_sampler = name  # type: ignore[attr-defined]
        return method

    return mark


def score(name: str) -> Callable[[F], F]:
    """Decorator: mark a method `(self, x) -> Tensor (n,)`, lower is more typical, as the score `name`."""

    def mark(method: F) -> F:
        method._ebbench_score = name  # type: ignore[attr-defined]
        return method

    return mark


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number of a task: its name in results, its unit, and which direction is better.

    A `gate` is 1 if a result may be ranked. A row with a seed below 1 is shown as invalid and has no rank.
    """

    name: str
    unit: str
    better: Literal["higher", "lower", "neither"]
    doc: str
    primary: bool = False
    gate: bool = False


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A limit on a metric that no honest result exceeds: a minimum `least` or a maximum `most`.

    A bound is a number or the name of another metric of the same result; `slack` is subtracted from `least`
    and added to `most`. `why` gives the reason in a sentence. A row with a seed beyond a limit is shown as
    invalid and has no rank.
    """

    metric: str
    why: str
    least: float | str | None = None
    most: float | str | None = None
    slack: float = 0.0

    def broken(self, metrics: Mapping[str, float]) -> str:
        """How a result's metrics exceed the limit, in words; "" if they do not, or lack the metric."""
        value = metrics.get(self.metric)
        for bound, sign, word in ((self.least, -1.0, "below"), (self.most, 1.0, "above")):
            end = metrics.get(bound) if isinstance(bound, str) else bound
            if value is None or end is None:
                continue
            end += sign * self.slack
            # Not `value > end`, so that NaN exceeds every limit.
            if not (value - end) * sign <= 0:
                return f"{self.metric} is {value:.6g}, {word} {end:.6g}: {self.why}"
        return ""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of a published table.

    `model` is the model's name in ebbench ("wgan-gp", or "wgan-gp:meg-authors" for a variant), or "" if it
    has none. `metrics` maps each metric to (value, plus-minus or None). `confidence` is "verbatim", "quoted"
    (from another paper's table), "derived" (computed from printed numbers) or "recalled" (not confirmed).
    `options` are the conditions of the row: values of task options, of the data's "source", of the model's
    Config, or of the sampler's knobs ("ddls.calibrated"). `protocol` is the protocol it applies to, "" for
    all.
    """

    label: str
    metrics: Mapping[str, tuple[float, float | None]]
    source: str
    confidence: Literal["verbatim", "quoted", "derived", "recalled"]
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
        confidence: Literal["verbatim", "quoted", "derived", "recalled"] = "verbatim",
        **rest: Any,
    ) -> Published:
        """A row from numbers as printed: a single value has no plus-minus."""
        pairs = {k: value if isinstance(value, tuple) else (value, None) for k, value in metrics.items()}
        return cls(label=label, metrics=pairs, source=source, confidence=confidence, **rest)


@dataclass(frozen=True)
class Score:
    """A task's score of a model: the metrics by name, and JSON details for the result's page."""

    metrics: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)


def mean_score(parts: Mapping[str, Score]) -> Score:
    """The mean of each metric over the parts that have it; for a single part, its own score."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    values: dict[str, list[float]] = {}
    for score in parts.values():
        for name, value in score.metrics.items():
            values.setdefault(name, []).append(value)
    return Score({name: sum(found) / len(found) for name, found in values.items()})


class Task(abc.ABC):
    """An evaluation task: training data, protocols, and a score.

    `Options` is a frozen dataclass of the user's options (`--set stacks=4`). `protocols` maps a protocol's
    name to its description; the first is the default. `version` rises with every change that can change a
    score.
    """

    @dataclass(frozen=True)
    class Options:
        """No options."""

    version: ClassVar[int]
    protocols: ClassVar[Mapping[str, str]]
    needs: ClassVar[str]
    # All metrics of the task; an instance may set those of its options.
    metrics: tuple[Metric, ...]
    limits: ClassVar[tuple[Limit, ...]] = ()
    # Maximum number of calls of `evaluate` after that of the untrained model, in a training of one loop; 0:
    # after each epoch. Changing it requires a new version.
    most_evaluations: ClassVar[int] = 0
    published: ClassVar[tuple[Published, ...]] = ()

    # Set by the task's __init__: the data source, and the SHA-256 of each file by name.
    source: str
    data_hashes: Mapping[str, str]

    def __init__(self, options: Any, protocol: str, store: Store) -> None:
        self.options = options
        self.protocol = protocol
        self.store = store

    @abc.abstractmethod
    def data_key(self) -> dict[str, Any]:
        """All that determines the training data besides `data_hashes`, as JSON values.

        Protocols that train on the same data must return the same key, so that they share the training.
        """

    @abc.abstractmethod
    def spec(self) -> DataSpec:
        """The shape and range of an example; reads no data, unless a part's own data determine the shape."""

    @abc.abstractmethod
    def data(self, device: torch.device) -> Data:
        """The training data, on `device`; a `Law` also serves the controls that draw fresh examples.

        Models only get what `Data` has.
        """

    @abc.abstractmethod
    def score(self, model: Model, scoring: Scoring) -> Score:
        """Score a trained model: `scoring.samples(...)` draws from it, in chunks that can resume.

        `scoring.scores(x)` gives every named score of the examples `x`; `scoring.declared` is the score that
        the model's card declares for this task.
        """

    def evaluate(self, model: Model, scoring: Scoring) -> Mapping[str, float]:
        """Metrics during training: of the untrained model, after epochs, and at the end.

        Called after each epoch, or less often (`most_evaluations`). A task that wants such metrics overrides
        this method and finds them in `scoring.evaluations`, one curve per name. Each is computed when it is
        due and never again, so they belong to the training.
        """
        return {}

    def parts(self, seed: int) -> Mapping[str, Task]:
        """The parts of the task, by name: one training and scoring each. By default the task itself.

        Each part is a task of its own and runs with the same seed. A task whose data depend on the seed (a
        random split) returns a copy of itself that knows the seed.
        """
        return {"": self}

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """Combine the parts' scores, by name, into one. By default the only part's score."""
        (only,) = scores.values()
        return only
