"""The engine's side of a scoring (`ebbench.contract.Scoring`).

Long scorings run in chunks. Each chunk has its own seed and is immediately reduced to what the task needs, so
that memory stays small. It is kept on disk until the score is done, so that an interrupted scoring resumes
and gives the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ebbench.data.pool import to_bytes
from ebbench.device import shared_gpu
from ebbench.errors import ContractError
from ebbench.running.chunks import DIAGNOSTIC, Chunks, Images, ImageStore, diagnostics, image_file
from ebbench.running.curves import Curves
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.running.sources import Source

if TYPE_CHECKING:
    from ebbench.contract import DataSpec, Reduce


# The scores of a chunk that took more seconds than this are kept on disk.
LONG = 1.0


class Scoring:
    """One scoring in progress: asks `source`, reduces its answers, and keeps them in `chunks`.

    `images` is a path without suffix, where 8-bit images are kept permanently by the draw's name.
    """

    def __init__(
        self,
        source: Source,
        spec: DataSpec,
        chunks: Chunks | None = None,
        *,
        seed: int,
        device: torch.device,
        sampler: str = "",
        declared: str = "",
        evaluations: Curves | None = None,
        images: Path | None = None,
        stop: StopRequest | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.seed = seed
        self.device = device
        self.sampler = sampler
        self.declared = declared
        self.evaluations = evaluations or Curves()
        self.pictures: dict[str, np.ndarray] = {}
        self.diagnostics: dict[str, float] = {}
        # Samples that the task has requested; of these, those drawn by this process, and the seconds it took.
        self.asked = 0
        self.drawn = 0
        self.drawing_seconds = 0.0
        # Names of the draws, and the number of requests for scores so far.
        self._names: set[str] = set()
        self._question = 0
        self._source, self._spec, self._chunks, self._images = source, spec, chunks or Chunks(), images
        self._stop, self._reporter = stop or StopRequest(), reporter or Reporter()

    def note(self, text: str) -> None:
        """Show one line to the user: what takes long although no samples are drawn."""
        self._reporter.note(text)

    def samples(
        self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000
    ) -> dict[str, np.ndarray]:
        """Draw `n` samples and return what `reduce` makes of them, concatenated over chunks.

        `reduce` gets float32 values (at most `chunk`, *spec.shape), checked for shape, range and finiteness.
        It returns named arrays whose first axis runs over these samples, or over some of them. It must depend
        on its argument only: a chunk that an interrupted run finished is not drawn again. Chunks are kept by
        `name`, so each draw of a score has its own. Raises ContractError for a second draw of one name.
        """

        def draw(number: int, begin: int, count: int) -> dict[str, np.ndarray]:
            return self._one_chunk(name, number, count, reduce)

        return self._in_chunks(n, name, chunk, draw)

    def images(
        self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000
    ) -> dict[str, np.ndarray]:
        """As `samples`, for 8-bit images that are kept; also returns them as "images".

        Values are rounded to bytes (`data.pool.to_bytes`) before `reduce`, uint8 (at most `chunk`,
        *spec.shape). The images are stored in the run store after the score. If they are there already, no
        sample is drawn, so that a score that is added later is of the same images.
        """
        store = self._image_store(name, n)
        before = self._drawn_before(store, n)

        def reduce_bytes(x: Tensor) -> dict[str, np.ndarray]:
            pixels = to_bytes(x, self._spec)
            # A copy, since `reduce` may change its argument in place.
            images = pixels.cpu().numpy().copy()
            return {**_arrays(reduce(pixels)), "images": images}

        def draw(number: int, begin: int, count: int) -> dict[str, np.ndarray]:
            if before is None:
                return self._one_chunk(name, number, count, reduce_bytes)
            images = before.pixels[begin : begin + count]
            given = torch.from_numpy(images.copy()).to(self.device)
            return {**_arrays(reduce(given)), "images": images}

        together = self._in_chunks(n, name, chunk, draw)
        if before is not None:
            self.drawn, self.drawing_seconds = before.drawn, before.seconds
            self.diagnostics = dict(before.diagnostics)
        else:
            store.keep(Images(together["images"], self.drawn, self.drawing_seconds, self.diagnostics))
        return together

    def _image_store(self, name: str, n: int) -> ImageStore:
        path = self._images
        return ImageStore(None if path is None else image_file(path, name, n))

    def _drawn_before(self, store: ImageStore, n: int) -> Images | None:
        """The stored images, with a note to the user; None if they are missing or incomplete."""
        if store.path is None or not store.path.exists():
            return None
        before = store.find((n, *self._spec.shape))
        if before is None:
            self.note(f"{store.path.name} in the run store is damaged: the samples are drawn again")
        else:
            self.note(f"{n:,} samples were drawn before and are taken from the run store")
        return before

    def _in_chunks(
        self, n: int, name: str, chunk: int, draw: Callable[[int, int, int], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """The results of `draw(number, begin, count)`, concatenated; finished chunks are not drawn again."""
        if name in self._names:
            raise ContractError(
                f"samples are drawn twice under the name '{name}'",
                where="score() of the task",
                expected="a name of its own for each draw, by which its chunks are kept",
                fix='give the second call name="..."',
            )
        self._names.add(name)
        self._source.expect(name, n)
        self.asked += n
        parts: list[dict[str, np.ndarray]] = []
        begins = range(0, n, chunk)
        self._reporter.begin("sampling", n, min(n, self._chunks.done(name, len(begins)) * chunk))
        # A scoring during a training must not end the training's own safe points.
        before, self._stop.safe_points = self._stop.safe_points, True
        try:
            for number, begin in enumerate(begins):
                count = min(chunk, n - begin)
                if (stored := self._chunks.find(name, number)) is not None:
                    parts.append(stored)
                    continue
                parts.append(draw(number, begin, count))
                self._chunks.keep(name, number, parts[-1])
                self._reporter.update(begin + count)
                if self._stop.asked:
                    raise self._stop.stopped(f"{begin + count} of {n} samples are drawn and kept")
        finally:
            self._stop.safe_points = before
            self._reporter.end()
        together = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        self.diagnostics |= diagnostics(together)
        return {key: values for key, values in together.items() if not key.startswith(DIAGNOSTIC)}

    def _one_chunk(self, name: str, number: int, count: int, reduce: Reduce) -> dict[str, np.ndarray]:
        began = time.perf_counter()
        drawn = self._source.draw(name, number, count)
        # With other processes on the GPU this is not a valid timing, nor is any sum that includes it.
        self.drawing_seconds += math.nan if shared_gpu(self.device) else time.perf_counter() - began
        self.drawn += count
        told = {DIAGNOSTIC + key: np.asarray([value]) for key, value in drawn.diagnostics.items()}
        return {**_arrays(reduce(drawn.values)), **told}

    def scored_by(self, name: str) -> bool:
        """Whether the score `name` answers the next request for scores."""
        return self._source.scored_by(self._question, name)

    def scores(
        self, x: Tensor, *, chunk: int = 1024, only: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Every named score of the examples `x`, (n, *spec.shape): float64 (n,), lower is more typical.

        `only` selects scores by name. `x` may be on any device; `chunk` examples at a time go to the model's.
        A lower bound on the log-likelihood has its sign flipped. Slow scores are kept on disk, so `x` must be
        the same when a scoring resumes. Raises ContractError for scores that are not one finite number per
        example, and for a missing score.
        """
        question, n = self._question, len(x)
        wanted = self._source.answers(question, n, only)
        parts: list[dict[str, np.ndarray]] = []
        key, begins = f"scores.{question}", range(0, n, chunk)
        self._reporter.begin("scoring", n, min(n, chunk * self._chunks.done(key, len(begins))))
        try:
            # All scores of a chunk before the next chunk, so that a model can cache what two scores share.
            for number, begin in enumerate(begins):
                part = x[begin : begin + chunk]
                stored = self._chunks.find(key, number)
                if stored is not None and _fits(stored, wanted, len(part)):
                    parts.append(stored)
                    continue
                began = time.perf_counter()
                parts.append(self._source.score(question, begin, part, wanted))
                self._reporter.update(begin + len(part))
                if time.perf_counter() - began > LONG:
                    self._chunks.keep(key, number, parts[-1])
                    if self._stop.asked:
                        raise self._stop.stopped(f"{begin + len(part)} of {n} examples are scored and kept")
        finally:
            self._reporter.end()
        self._question += 1
        return {name: np.concatenate([part[name] for part in parts]) for name in wanted}

    def picture(self, name: str, pixels: np.ndarray) -> None:
        """Keep a picture, uint8 (height, width, 3), to be written beside the result as `name`.png."""
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ContractError(
                f"picture '{name}' is {pixels.dtype} {pixels.shape}", expected="uint8 (height, width, 3)"
            )
        self.pictures[name] = pixels


def _arrays(reduced: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: np.asarray(value) for key, value in reduced.items()}


def _fits(stored: Mapping[str, np.ndarray], names: Collection[str], n: int) -> bool:
    """Whether `stored` holds scores with these names for `n` examples."""
    return stored.keys() == set(names) and all(values.shape == (n,) for values in stored.values())
