"""Sources of samples and scores for a scoring: a model from a plug-in's folder, or plain functions.

The source shares this process with the task, so nothing is passed as a view: examples are copied before a
model gets them, and its outputs are copied before they count.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ebbench.contract import BOUND, CLASSIFY
from ebbench.data.pool import in_range
from ebbench.errors import ContractError
from ebbench.plugins import introspection
from ebbench.plugins.guard import plugin_code
from ebbench.running import seeds
from ebbench.running.repeats import Repeats
from ebbench.storage.hashing import derive_seed

if TYPE_CHECKING:
    from ebbench.contract import DataSpec, Model
    from ebbench.plugins.loader import Plugin

# Tolerated excess over the data's range, as a share of it: float32 rounding only.
RANGE_TOLERANCE = 1e-5

DIVERGED = "look at the curves: the training may have diverged"


@dataclass(frozen=True)
class Drawn:
    """One chunk of samples: float32 (count, *spec.shape), finite, in range, in memory of its own."""

    values: Tensor
    diagnostics: Mapping[str, float] = field(default_factory=dict)


class Source(Protocol):
    """Samples in named draws, and scores in questions that are numbered from 0."""

    def expect(self, draw: str, n: int) -> None:
        """Announce `n` samples. Raises ContractError if they are not available."""
        ...

    def draw(self, draw: str, number: int, count: int) -> Drawn:
        """Chunk `number` of a draw. Raises ContractError for samples that do not fit."""
        ...

    def scored_by(self, question: int, name: str) -> bool:
        """Whether the score `name` answers a question."""
        ...

    def answers(self, question: int, n: int, only: Collection[str] | None) -> list[str]:
        """The names of the scores that `n` examples will get: all available ones, or those in `only`."""
        ...

    def score(self, question: int, begin: int, x: Tensor, names: Collection[str]) -> dict[str, np.ndarray]:
        """The scores of the examples `x`, which start at number `begin` of the question: float64 (k,).

        Lower is more typical: a bound on the log-likelihood has its sign flipped. Raises ContractError for
        scores that are not one finite number per example.
        """
        ...


class ModelSource:
    """Samples and scores of a trained model. `place` is the folder for the traceback of a crash."""

    def __init__(
        self,
        model: Model,
        plugin: Plugin,
        spec: DataSpec,
        *,
        seed: int | seeds.Derive,
        device: torch.device,
        sampler: str = "",
        knobs: Mapping[str, Any] | None = None,
        place: Path | None = None,
    ) -> None:
        self._model, self._plugin, self._spec = model, plugin, spec
        self._derived, self._device, self._place = seeds.derived(seed), device, place
        self._sampler, self._knobs = sampler, dict(knobs or {})
        self._scores = introspection.answers(type(model))
        self._repeats = Repeats()

    def expect(self, draw: str, n: int) -> None:
        """Raises ContractError if no sampler is scored."""
        check_sampler(self._sampler, self._plugin.folder.name)

    def draw(self, draw: str, number: int, count: int) -> Drawn:
        """A chunk, drawn with its own seed."""
        where = f"sampler '{self._sampler}' of {self._plugin.folder.name}"
        method = introspection.samplers(type(self._model))[self._sampler]
        seeds.seed_everything(self._derived("sample", self._sampler, draw, number))
        self._model.diagnostics = {}
        with plugin_code(self._plugin, self._place, method.__name__):
            made = method(self._model, count, **self._knobs)
            told = {str(name): float(value) for name, value in self._model.diagnostics.items()}
        if not np.isfinite(list(told.values())).all():
            raise ContractError(
                f"a diagnostic of the draws is not finite: {told}", where=where, expected="finite numbers"
            )
        if not isinstance(made, Tensor) or not made.is_floating_point():
            raise ContractError(
                f"the samples are a {_kind(made)}",
                where=where,
                expected=f"a floating-point tensor {(count, *self._spec.shape)}",
            )
        values = checked_samples(made, self._spec, count, self._device, where)
        self._repeats.check(draw, number, values, where)
        return Drawn(values, told)

    def scored_by(self, question: int, name: str) -> bool:
        """Whether the model has the score `name`."""
        return name in self._scores

    def answers(self, question: int, n: int, only: Collection[str] | None) -> list[str]:
        """The scores of the model."""
        return chosen_scores(self._scores, only, self._plugin.folder.name)

    def score(self, question: int, begin: int, x: Tensor, names: Collection[str]) -> dict[str, np.ndarray]:
        """The model's scores, each on a copy of `x`, with a seed determined by the chunk and the score."""
        found = {}
        for name in names:
            method = self._scores[name]
            # A stochastic score must not depend on whether the model was trained just now or earlier.
            seeds.seed_everything(self._derived("score", name, question, begin))
            with plugin_code(self._plugin, self._place, method.__name__):
                values = method(self._model, given(x, self._device))
            where = f"score '{name}' of {self._plugin.folder.name}"
            if not isinstance(values, Tensor) or not (values.is_floating_point() or name == CLASSIFY):
                raise ContractError(
                    f"the scores are a {_kind(values)}", where=where, expected=_expected_scores(len(x))
                )
            found[name] = checked_scores(values, name, len(x), where, self._spec.classes)
        return found


class CallableSource:
    """Samples and scores from the user's functions; their exceptions are passed on to the user.

    `sample` takes n and returns (n, *spec.shape). Each of `scores` takes float32 (n, *spec.shape) and returns
    (n,). Results are tensors or arrays of floats; images may also be bytes.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        seed: int,
        device: torch.device,
        sample: Callable[[int], Any] | None = None,
        scores: Mapping[str, Callable[[Tensor], Any]] | None = None,
    ) -> None:
        self._spec, self._seed, self._device = spec, seed, device
        self._sample, self._scores = sample, dict(scores or {})
        self._repeats = Repeats()

    def expect(self, draw: str, n: int) -> None:
        """Raises ContractError without a function for samples."""
        if self._sample is None:
            raise ContractError(
                "the task asks for samples", where="samples", expected="a function n -> samples, or an array"
            )

    def draw(self, draw: str, number: int, count: int) -> Drawn:
        """A chunk, drawn with its own seed."""
        assert self._sample is not None, "expect() comes first"
        seeds.seed_everything(derive_seed(self._seed, "sample", draw, number))
        made = as_tensor(self._sample(count), f"samples({count})")
        values = checked_samples(made, self._spec, count, self._device, f"samples({count})")
        self._repeats.check(draw, number, values, "samples")
        return Drawn(values)

    def scored_by(self, question: int, name: str) -> bool:
        """Whether there is a function for the score `name`."""
        return name in self._scores

    def answers(self, question: int, n: int, only: Collection[str] | None) -> list[str]:
        """The scores that have a function."""
        return chosen_scores(self._scores, only, "energy, log_likelihood_bound")

    def score(self, question: int, begin: int, x: Tensor, names: Collection[str]) -> dict[str, np.ndarray]:
        """The functions' results, each on a copy of `x`."""
        found = {}
        for name in names:
            seeds.seed_everything(derive_seed(self._seed, "score", name, question, begin))
            made, where = self._scores[name](given(x, self._device)), f"the score '{name}'"
            if name == CLASSIFY and isinstance(made, np.ndarray | Tensor):
                # Classes are integers of any dtype.
                made = torch.as_tensor(made).double()
            values = as_tensor(made, where)
            found[name] = checked_scores(values, name, len(x), where, self._spec.classes)
        return found


def given(x: Tensor, device: torch.device) -> Tensor:
    """A copy of the task's examples, which a model may change in place."""
    return x.detach().to(device, copy=True)


def as_tensor(values: Any, where: str) -> Tensor:
    """A user's numbers, an array or tensor, as a tensor. Raises ContractError for anything else."""
    if isinstance(values, np.ma.MaskedArray):
        raise ContractError(
            "it is a masked array",
            where=where,
            expected="an array or a tensor of floats, without a mask",
        )
    if isinstance(values, np.ndarray) and values.dtype.str[1:] in ("f2", "f4", "f8", "u1"):
        # A copy in this machine's byte order; torch accepts no other, and no negative strides.
        values = torch.from_numpy(values.astype(values.dtype.newbyteorder("="), order="C"))
    if not isinstance(values, Tensor) or not (values.is_floating_point() or values.dtype == torch.uint8):
        raise ContractError(
            f"it is a {_kind(values)}", where=where, expected="a NumPy array or a tensor, of floats"
        )
    return values


def checked_samples(made: Tensor, spec: DataSpec, count: int, device: torch.device, where: str) -> Tensor:
    """A copy of samples, float32 on `device`; bytes of images are scaled to the data's range.

    Raises ContractError for a shape other than (count, *spec.shape), NaN, and values out of range.
    """
    shape = (count, *spec.shape)
    if tuple(made.shape) != shape:
        raise ContractError(
            f"the samples have shape {tuple(made.shape)}",
            where=where,
            expected=str(shape),
            fix="channels come first" if sorted(made.shape) == sorted(shape) else "",
        )
    if made.dtype == torch.uint8:
        if spec.low is None or spec.high is None:
            raise ContractError("the samples are bytes", where=where, expected="floats")
        return in_range(made.detach().to(device), spec)
    drawn = made.detach().to(device, torch.float32, copy=True)
    low, high = (float(v) for v in drawn.aminmax()) if drawn.numel() else (0.0, 0.0)
    if not np.isfinite([low, high]).all():
        raise ContractError(
            "the samples hold NaN or infinite values",
            where=where,
            expected="finite values",
            fix=f"{DIVERGED}, or a chain left the finite numbers",
        )
    least = -np.inf if spec.low is None else spec.low
    most = np.inf if spec.high is None else spec.high
    slack = RANGE_TOLERANCE * (most - least) if np.isfinite(most - least) else 0.0
    if low < least - slack or high > most + slack:
        raise ContractError(
            f"the samples lie in [{low:.6g}, {high:.6g}]",
            where=where,
            expected=f"the data's range [{least:g}, {most:g}]",
            fix="end the generator with a tanh, or scale and clamp what it gives",
        )
    return drawn.clamp_(spec.low, spec.high) if slack else drawn


def checked_scores(values: Tensor, name: str, n: int, where: str, classes: int = 0) -> np.ndarray:
    """The scores called `name`, float64 (n,), lower is more typical; for "classify" the classes.

    Raises ContractError unless there is one finite number per example, and for a class that is not one of
    `classes`.
    """
    if tuple(values.shape) != (n,):
        raise ContractError(
            f"the scores have shape {tuple(values.shape)}", where=where, expected=_expected_scores(n)
        )
    scores: np.ndarray = values.detach().to("cpu", torch.float64, copy=True).numpy()
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise ContractError(
            f"{bad} of {n} scores are NaN or infinite",
            where=where,
            expected=_expected_scores(n),
            fix=DIVERGED,
        )
    if name == CLASSIFY:
        none = scores[(scores != np.floor(scores)) | (scores < 0) | (scores >= classes)]
        if len(none):
            raise ContractError(
                f"{len(none)} of {n} examples are given a class that is none, such as {none[0]:g}",
                where=where,
                expected=f"whole numbers from 0 to {classes - 1}" if classes else "data that have classes",
                fix="give logits.argmax(1), not the logits",
            )
    return -scores if name == BOUND else scores


def check_sampler(sampler: str, where: str) -> None:
    """Raise ContractError if the model is not scored with a sampler."""
    if not sampler:
        raise ContractError(
            "the task asks for samples of a model that has no sampler",
            where=where,
            expected="a method sample(self, n) or one marked @sampler(name)",
        )


def chosen_scores(known: Collection[str], only: Collection[str] | None, where: str) -> list[str]:
    """The wanted ones among the known scores; classes are included only if they are requested by name.

    Raises ContractError if one is missing.
    """
    wanted = [name for name in known if (name in only if only is not None else name != CLASSIFY)]
    missing = sorted(set(only or ()) - set(wanted))
    if missing or not wanted:
        raise ContractError(
            f"the task asks for {'the score ' + ', '.join(missing) if missing else 'scores'}",
            where=where,
            expected=f"one of {', '.join(known)}" if known else "a score: there is none",
        )
    return wanted


def _expected_scores(n: int) -> str:
    return f"a floating-point tensor ({n},), one finite number an example"


def _kind(values: Any) -> str:
    if isinstance(values, Tensor | np.ndarray):
        return f"{values.dtype} {'tensor' if isinstance(values, Tensor) else type(values).__name__}"
    return type(values).__name__
