"""What a task received from a model, kept as arrays: it can be scored again without the model's code.

A recorded scoring gives the task exactly what is kept (images as bytes, scores as float32), so its metrics
are those of the arrays. Array names are "samples.<draw>" and "scores.<question>.<score>", where the question
counts the task's requests for scores; those of a part begin with "<part>/".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ebbench.contract import DataSpec, Model, Score, Task
from ebbench.data.pool import in_range, to_bytes
from ebbench.errors import ContractError
from ebbench.running.progress import Reporter
from ebbench.running.scoring import Scoring
from ebbench.running.sources import Drawn, Source, checked_samples

if TYPE_CHECKING:
    from ebbench import contract
    from ebbench.contract import Reduce

Arrays = dict[str, np.ndarray]

# The default draw; draws without an array of their own use its first samples.
PLAIN = "samples.samples"

# An array may hold more than the task first requests, since it may request more later, but not more than this
# factor.
MOST_SPARE = 2

# Key of the kept samples among the reduced arrays of a recorded chunk.
_RECORDED = "recorded.samples"


def as_bytes(spec: DataSpec) -> bool:
    """Whether samples are kept as bytes: bounded images, (channels, height, width)."""
    return len(spec.shape) == 3 and spec.low is not None and spec.high is not None


def conversion(spec: DataSpec, kind: np.dtype) -> str:
    """The line of NumPy that converts samples of `kind`, on the data's own scale, to the kept form."""
    if not as_bytes(spec):
        return "values.astype(numpy.float32)"
    if kind == np.uint8:
        return f"values of shape (n, {', '.join(map(str, spec.shape))}): channels come first"
    assert spec.low is not None and spec.high is not None
    scaled = f"numpy.rint((values - {spec.low:g}) * {255 / (spec.high - spec.low):g})"
    return f"{scaled}.clip(0, 255).astype(numpy.uint8), of values in [{spec.low:g}, {spec.high:g}]"


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of named arrays by their values, independent of compression."""
    found = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        found.update(f"{name} {values.dtype} {values.shape} ".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


class Recording:
    """A scoring that gives the task what `scoring` gives, rounded to the kept form; `arrays` keeps it."""

    # Whether the task gets the rounded values; a subclass may only watch (running/given.py).
    rounds = True

    def __init__(self, scoring: contract.Scoring, spec: DataSpec, arrays: Arrays, part: str = "") -> None:
        self.seed, self.device, self.sampler = scoring.seed, scoring.device, scoring.sampler
        self.declared, self.evaluations = scoring.declared, scoring.evaluations
        self._scoring, self._spec, self._arrays = scoring, spec, arrays
        self._prefix = f"{part}/" if part else ""
        self._question = 0

    def note(self, text: str) -> None:
        """Show one line to the user."""
        self._scoring.note(text)

    def samples(self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000) -> Arrays:
        """As any scoring's; the samples are then in the arrays."""

        def recorded(x: Tensor) -> Arrays:
            packed = to_bytes(x, self._spec) if as_bytes(self._spec) else x
            # A copy, since `reduce` may change its argument in place.
            taken = packed.cpu().numpy().copy()
            shown = in_range(packed, self._spec) if self.rounds else x
            return {**reduce(shown), _RECORDED: taken}

        made = self._scoring.samples(n, recorded, name=name, chunk=chunk)
        self._keep(name, made.pop(_RECORDED))
        return made

    def images(self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000) -> Arrays:
        """As any scoring's; the images are then in the arrays."""
        made = self._scoring.images(n, reduce, name=name, chunk=chunk)
        pixels = made["images"]
        if not as_bytes(self._spec):
            pixels = in_range(torch.from_numpy(pixels), self._spec).numpy()
        self._keep(name, pixels)
        return made

    def scored_by(self, name: str) -> bool:
        """Whether the model has the score `name`."""
        return self._scoring.scored_by(name)

    def scores(self, x: Tensor, *, chunk: int = 1024, only: Collection[str] | None = None) -> Arrays:
        """As any scoring's, in single precision; they are then in the arrays."""
        made = self._scoring.scores(x, chunk=chunk, only=only)
        taken = {name: values.astype(np.float32) for name, values in made.items()}
        for name, values in taken.items():
            self._arrays[f"{self._prefix}scores.{self._question}.{name}"] = values
        self._question += 1
        return {name: values.astype(np.float64) for name, values in taken.items()} if self.rounds else made

    def picture(self, name: str, pixels: np.ndarray) -> None:
        """Keep a picture."""
        self._scoring.picture(name, pixels)

    def _keep(self, name: str, taken: np.ndarray) -> None:
        # A second request for the same draw continues after the first.
        key = f"{self._prefix}samples.{name}"
        before = [self._arrays[key]] if key in self._arrays else []
        self._arrays[key] = np.concatenate([*before, taken])


class ArraySource:
    """A source without a model: samples and scores come from `arrays`, in the order of the requests.

    A draw without an array of its own (a sheet, for samples that were made elsewhere) uses the first samples
    of the default draw. `where` names the arrays in messages. With `floats`, images may also be floats in the
    data's range. Raises ContractError if the task requests what is missing, and for arrays that do not fit.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        spec: DataSpec,
        *,
        where: str,
        part: str = "",
        device: torch.device | None = None,
        floats: bool = False,
    ) -> None:
        self._arrays, self._spec, self._where = arrays, spec, where
        self._prefix = f"{part}/" if part else ""
        self._device = device or torch.device("cpu")
        self._kinds = (np.uint8, np.float32) if floats and as_bytes(spec) else (self._kept_as,)
        self.used: set[str] = set()
        self._at: dict[str, int] = {}

    @property
    def _kept_as(self) -> type[np.generic]:
        return np.uint8 if as_bytes(self._spec) else np.float32

    def expect(self, draw: str, n: int) -> None:
        """Raises ContractError if there are fewer samples than that."""
        # Checked before anything is done `n` times and before anything is decompressed: both may come from an
        # untrusted submission and be huge.
        key, wanted = self._key(draw), self._at.get(draw, 0) + n
        (have, *_), _kind = self._checked(key)
        own = key == f"{self._prefix}samples.{draw}"
        if have < wanted or (own and have > MOST_SPARE * wanted):
            raise self._miscounted(key, have, wanted)

    def draw(self, draw: str, number: int, count: int) -> Drawn:
        """The next `count` samples of a draw."""
        begin = self._at.get(draw, 0)
        stored = self._stored(draw)[begin : begin + count]
        self._at[draw] = begin + count
        # A copy, since a task may change its argument in place.
        values = torch.from_numpy(stored.copy())
        return Drawn(checked_samples(values, self._spec, count, self._device, self._where))

    def check_all_taken(self) -> None:
        """Raise ContractError if an array holds more samples than the task requested."""
        taken: dict[str, int] = {}
        for draw, at in self._at.items():
            key = self._key(draw)
            taken[key] = max(at, taken.get(key, 0))
        for key, at in taken.items():
            (have, *_), _kind = self._header(key)
            if have > at:
                raise self._miscounted(key, have, at)

    def scored_by(self, question: int, name: str) -> bool:
        """Whether there is an array for this question and score."""
        return f"{self._prefix}scores.{question}.{name}" in self._arrays

    def answers(self, question: int, n: int, only: Collection[str] | None) -> list[str]:
        """The scores that have arrays. Raises ContractError if one does not have `n` examples."""
        prefix = f"{self._prefix}scores.{question}."
        found = [key.removeprefix(prefix) for key in self._arrays if key.startswith(prefix)]
        names = [name for name in found if only is None or name in only]
        missing = set(only or ()) - set(names)
        if missing or not names:
            raise ContractError(
                f"there are no scores '{prefix}{', '.join(sorted(missing)) or '...'}'",
                where=self._where,
                expected=f"float32 ({n},)",
            )
        for name in names:
            shape, kind = self._header(prefix + name)
            fits = shape == (n,) and kind == np.float32
            if not fits or not np.isfinite(self._array(prefix + name)).all():
                raise ContractError(
                    f"'{prefix}{name}' is {kind} {shape}",
                    where=self._where,
                    expected=f"float32 ({n},), every value finite",
                )
        return names

    def score(self, question: int, begin: int, x: Tensor, names: Collection[str]) -> Arrays:
        """The requested part of the arrays, unchanged: lower is more typical."""
        keys = {name: f"{self._prefix}scores.{question}.{name}" for name in names}
        return {
            name: self._array(key)[begin : begin + len(x)].astype(np.float64) for name, key in keys.items()
        }

    def _miscounted(self, key: str, have: int, wanted: int) -> ContractError:
        return ContractError(
            f"'{key}' holds {have:,} samples",
            where=self._where,
            expected=f"{wanted:,}",
            fix="give as many as the task's options ask for, or set the option to the number that you have",
        )

    def _key(self, draw: str) -> str:
        key = f"{self._prefix}samples.{draw}"
        return key if key in self._arrays else self._prefix + PLAIN

    def _stored(self, draw: str) -> np.ndarray:
        self._checked(self._key(draw))
        return self._array(self._key(draw))

    def _checked(self, key: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and dtype of an array of samples; raises ContractError unless they fit the data."""
        shape, kind = self._header(key)
        if not shape or shape[1:] != self._spec.shape or kind not in self._kinds:
            sizes = ", ".join(map(str, self._spec.shape))
            raise ContractError(
                f"'{key}' is {kind} {shape}",
                where=self._where,
                expected=f"{np.dtype(self._kept_as)} (number of samples, {sizes})",
                fix=f"numpy.savez(path, samples=x), x = {conversion(self._spec, kind)}",
            )
        return shape, kind

    def _header(self, key: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and dtype of an array, without decompressing one in an archive."""
        if hasattr(self._arrays, "header") and key in self._arrays:
            found: tuple[tuple[int, ...], np.dtype] = self._arrays.header(key)
            return found
        values = self._array(key)
        return values.shape, values.dtype

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
    """A task's score of arrays, each part's score, and the pictures by name.

    `samples` is the number of samples used, `unused` the arrays that the task did not request.
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
    device: torch.device | None = None,
    floats: bool = False,
) -> Replay:
    """Score `arrays` without a model; its training is unknown. `reporter` shows the progress.

    Raises ContractError as `ArraySource` does, and if there are more samples than the task requests.
    """
    sources: dict[str, ArraySource] = {}

    def source(name: str, part: Task) -> ArraySource:
        sources[name] = ArraySource(arrays, part.spec(), where=where, part=name, device=device, floats=floats)
        return sources[name]

    whole = scored(
        task, source, seed=seed, reporter=reporter, sampler=sampler, declared=declared, device=device
    )
    for one in sources.values():
        one.check_all_taken()
    used = {key for one in sources.values() for key in one.used}
    return Replay(whole.score, whole.parts, whole.pictures, whole.samples, sorted(arrays.keys() - used))


def scored(
    task: Task,
    source: Callable[[str, Task], Source],
    *,
    seed: int,
    reporter: Reporter,
    sampler: str = "",
    declared: str = "",
    device: torch.device | None = None,
) -> Replay:
    """Score `source(name, part)` for each part of a task, in memory and in one go."""
    scores: dict[str, Score] = {}
    pictures: dict[str, np.ndarray] = {}
    asked = 0
    for name, part in task.parts(seed).items():
        scoring = Scoring(
            source(name, part),
            part.spec(),
            seed=seed,
            device=device or torch.device("cpu"),
            sampler=sampler,
            declared=declared,
            reporter=reporter,
        )
        scores[name] = part.score(Model(part.spec(), None), scoring)
        asked += scoring.asked
        pictures |= {f"{name} {key}".strip().replace(" ", "-"): v for key, v in scoring.pictures.items()}
    return Replay(task.combine(scores), scores, pictures, asked, [])
