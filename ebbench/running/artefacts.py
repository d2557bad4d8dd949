"""What a task was given of a model: kept as arrays, it can be scored again without the model's code.

A scoring that is recorded gives the task what is kept and nothing finer (images as bytes, scores as float32),
so that its metrics are exactly those of the arrays. Names: "samples.<draw>" and "scores.<question>.<score>",
the question counting how often the task asked for scores; those of a part begin with "<part>/".
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebbench.contract import DataSpec, Model, Score, Task
from ebbench.data.pool import in_range, to_bytes
from ebbench.errors import ContractError
from ebbench.running.progress import Reporter
from ebbench.running.scoring import Reduce, Scoring
from ebbench.running.signals import StopRequest

Arrays = dict[str, np.ndarray]


# The draw that a task names no other way, and from whose beginning a draw without an array is taken.
PLAIN = "samples.samples"


def as_bytes(spec: DataSpec) -> bool:
    """Whether samples are kept as bytes: bounded images, (channels, height, width)."""
    return len(spec.shape) == 3 and spec.low is not None and spec.high is not None


def conversion(spec: DataSpec, kind: np.dtype) -> str:
    """The line of NumPy that makes samples as they are kept of values of `kind` on the data's own scale."""
    if not as_bytes(spec):
        return "values.astype(numpy.float32)"
    if kind == np.uint8:
        return f"values of shape (n, {', '.join(map(str, spec.shape))}): channels come first"
    assert spec.low is not None and spec.high is not None
    scaled = f"numpy.rint((values - {spec.low:g}) * {255 / (spec.high - spec.low):g})"
    return f"{scaled}.clip(0, 255).astype(numpy.uint8), of values in [{spec.low:g}, {spec.high:g}]"


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of named arrays by their values, however they were packed."""
    found = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        found.update(f"{name} {values.dtype} {values.shape} ".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


class Recorded(Scoring):
    """A scoring whose samples and scores are kept in `arrays`."""

    def __init__(self, *args: Any, part: str, arrays: Arrays, **options: Any) -> None:
        super().__init__(*args, **options)
        self._prefix = f"{part}/" if part else ""
        self._arrays = arrays
        self._chunks: dict[str, list[np.ndarray]] = {}

    def _took_samples(self, name: str, drawn: Tensor) -> Tensor:
        key = f"{self._prefix}samples.{name}"
        packed = to_bytes(drawn, self._spec) if as_bytes(self._spec) else drawn
        self._chunks.setdefault(key, []).append(packed.cpu().numpy())
        return in_range(packed, self._spec)

    def samples(self, n: int, reduce: Reduce, **options: Any) -> Arrays:
        """As any scoring's; what was drawn is in the arrays afterwards."""
        made = super().samples(n, reduce, **options)
        self._join()
        return made

    def images(self, n: int, reduce: Reduce, **options: Any) -> Arrays:
        """The same."""
        made = super().images(n, reduce, **options)
        self._join()
        return made

    def _join(self) -> None:
        for key, chunks in self._chunks.items():
            self._arrays[key] = np.concatenate(
                [*([self._arrays[key]] if key in self._arrays else []), *chunks]
            )
        self._chunks.clear()

    def _took_scores(self, name: str, values: np.ndarray) -> np.ndarray:
        taken = values.astype(np.float32)
        self._arrays[f"{self._prefix}scores.{self._question}.{name}"] = taken
        return taken.astype(np.float64)


class Replayed(Scoring):
    """A scoring that asks no model: samples and scores come out of `arrays`, in the order they were taken.

    A draw that has no array of its own (a sheet, of samples that were made elsewhere) is the beginning of
    the plain one. Raises ContractError where the task asks for what is not there, and for arrays that do
    not fit.
    """

    def __init__(
        self, *args: Any, part: str, arrays: Mapping[str, np.ndarray], where: str, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._prefix = f"{part}/" if part else ""
        self._arrays, self._where = arrays, where
        self.used: set[str] = set()
        self._at: dict[str, int] = {}

    def samples(self, n: int, reduce: Reduce, *, name: str = "samples", **options: Any) -> Arrays:
        """As any scoring's, out of the arrays."""
        self._enough(name, n)
        return super().samples(n, reduce, name=name, **options)

    def images(self, n: int, reduce: Reduce, *, name: str = "samples", **options: Any) -> Arrays:
        """The same."""
        self._enough(name, n)
        return super().images(n, reduce, name=name, **options)

    def _enough(self, name: str, n: int) -> None:
        # Before anything is done `n` times, which the options of a stranger may have set.
        have, wanted = len(self._stored(name)), self._at.get(name, 0) + n
        if have < wanted:
            raise self._miscounted(self._samples_key(name), have, wanted)

    def _miscounted(self, key: str, have: int, wanted: int) -> ContractError:
        return ContractError(
            f"'{key}' holds {have:,} samples",
            where=self._where,
            expected=f"{wanted:,}",
            fix="give as many as the task's options ask for, or choose the option for as many as there are",
        )

    def check_all_taken(self) -> None:
        """Raise ContractError where an array of samples holds more than the task asked for."""
        taken: dict[str, int] = {}
        for name, at in self._at.items():
            key = self._samples_key(name)
            taken[key] = max(at, taken.get(key, 0))
        for key, at in taken.items():
            if len(self._arrays[key]) > at:
                raise self._miscounted(key, len(self._arrays[key]), at)

    def _samples_key(self, name: str) -> str:
        key = f"{self._prefix}samples.{name}"
        return key if key in self._arrays else self._prefix + PLAIN

    def _stored(self, name: str) -> np.ndarray:
        key = self._samples_key(name)
        stored = self._array(key)
        kind = np.uint8 if as_bytes(self._spec) else np.float32
        if stored.ndim == 0 or stored.shape[1:] != self._spec.shape or stored.dtype != kind:
            sizes = ", ".join(map(str, self._spec.shape))
            raise ContractError(
                f"'{key}' is {stored.dtype} {stored.shape}",
                where=self._where,
                expected=f"{np.dtype(kind)} (number of samples, {sizes})",
                fix=f"numpy.savez(path, samples=x), x = {conversion(self._spec, stored.dtype)}",
            )
        return stored

    def _drawn(self, name: str, number: int, count: int) -> Any:
        begin = self._at.get(name, 0)
        stored = self._stored(name)
        self._at[name] = begin + count
        # A copy: a task may write into what it is given.
        return in_range(torch.from_numpy(stored[begin : begin + count].copy()), self._spec)

    def scored_by(self, name: str) -> bool:
        """Whether the next question was answered by the score `name`."""
        return f"{self._prefix}scores.{self._question}.{name}" in self._arrays

    def scores(
        self, x: Tensor, *, chunk: int = 1024, only: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """As a model's, out of the arrays."""
        prefix = f"{self._prefix}scores.{self._question}."
        self._question += 1
        found = {
            key.removeprefix(prefix): self._array(key)
            for key in self._arrays
            if key.startswith(prefix) and (only is None or key.removeprefix(prefix) in only)
        }
        missing = set(only or ()) - found.keys()
        if missing or not found:
            raise ContractError(
                f"there are no scores '{prefix}{', '.join(sorted(missing)) or '...'}'",
                where=self._where,
                expected=f"float32 ({len(x)},)",
            )
        made = {}
        for name, values in found.items():
            if values.shape != (len(x),) or values.dtype != np.float32 or not np.isfinite(values).all():
                raise ContractError(
                    f"'{prefix}{name}' is {values.dtype} {values.shape}",
                    where=self._where,
                    expected=f"float32 ({len(x)},), every value finite",
                )
            made[name] = values.astype(np.float64)
        return made

    def _array(self, key: str) -> np.ndarray:
        if key not in self._arrays:
            raise ContractError(
                f"there is no array '{key}'",
                where=self._where,
                expected="every array that the task asks for",
                fix=f"there are {', '.join(sorted(self._arrays)[:12]) or 'none'}",
            )
        self.used.add(key)
        return self._arrays[key]


@dataclass(frozen=True)
class Replay:
    """What a task made of arrays: its score, that of each part, pictures by name.

    `samples` is how many it took, `unused` which arrays it did not ask for.
    """

    score: Score
    parts: Mapping[str, Score]
    pictures: Mapping[str, np.ndarray]
    samples: int
    unused: list[str]


def replay(
    task: Task,
    arrays: Mapping[str, np.ndarray],
    *,
    seed: int,
    where: str,
    reporter: Reporter,
    sampler: str = "",
    declared: str = "",
) -> Replay:
    """Score `arrays`; no model is asked, and nothing is known of its training. `reporter` says how far it is.

    Raises ContractError as `Replayed` does, and for more samples than the task asks for; `where` names the
    file that holds the arrays.
    """
    scores: dict[str, Score] = {}
    pictures: dict[str, np.ndarray] = {}
    used: set[str] = set()
    asked = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, part in task.parts(seed).items():
            nobody = Model(part.spec(), None)
            scoring = Replayed(
                nobody,
                part.spec(),
                Path(folder) / str(len(scores)),
                part=name,
                arrays=arrays,
                where=where,
                seed=seed,
                device=torch.device("cpu"),
                sampler=sampler,
                # Never called: what is drawn is in the arrays.
                draw=torch.empty,
                declared=declared,
                plugin_folder=Path(where),
                stop=StopRequest(),
                reporter=reporter,
            )
            scores[name] = part.score(nobody, scoring)
            scoring.check_all_taken()
            asked += scoring.asked
            used |= scoring.used
            pictures |= {f"{name} {key}".strip().replace(" ", "-"): v for key, v in scoring.pictures.items()}
        return Replay(task.combine(scores), scores, pictures, asked, sorted(arrays.keys() - used))
