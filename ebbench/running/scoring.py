"""Scoring: what a task sees of the engine while it scores a trained model.

Long scorings go in chunks. Each chunk has a seed of its own and is reduced at once to what the task
needs of it, so that memory stays small, and kept on disk until the score is done, so that an
interrupted scoring goes on where it was and gives the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ebbench import contract
from ebbench.data.pool import in_range, to_bytes
from ebbench.device import shared_gpu
from ebbench.errors import ContractError, EbbenchError, PluginCrash, Stopped
from ebbench.plugins import introspection
from ebbench.plugins.crash import fault
from ebbench.running import seeds
from ebbench.running.curves import Curves
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.storage import arrays
from ebbench.storage.hashing import derive_seed

if TYPE_CHECKING:
    from ebbench.contract import DataSpec, Model


Reduce = Callable[[Tensor], Mapping[str, np.ndarray]]


# Values may leave the data's range by this share of it: a float32 rounding, no more.
RANGE_TOLERANCE = 1e-5


# Scores of a chunk that took longer, in seconds, are kept on disk.
LONG = 1.0


# Before the names of a sampler's diagnostics among the arrays of a chunk.
_DIAGNOSTIC = "diagnostic."


class Scoring:
    """One scoring in progress: draws from the model, checks what it gives, keeps what was reduced."""

    def __init__(
        self,
        model: Model,
        spec: DataSpec,
        folder: Path,
        *,
        seed: int,
        device: torch.device,
        sampler: str,
        draw: Callable[[int], Tensor] | None,
        plugin_folder: Path,
        stop: StopRequest,
        reporter: Reporter,
        samples: Path | None = None,
        declared: str = "",
        evaluations: Curves | None = None,
    ) -> None:
        self.seed = seed
        self.device = device
        self.sampler = sampler
        self.declared = declared
        self.evaluations = evaluations or Curves()
        self.pictures: dict[str, np.ndarray] = {}
        self.diagnostics: dict[str, float] = {}
        self.asked = 0
        self.drawn = 0
        self.drawing_seconds = 0.0
        # How often the model was asked for its scores.
        self._question = 0
        self._model, self._spec, self._folder = model, spec, folder
        # Where images are kept for good, up to what the name of the draw and their number add.
        self._samples = samples or folder / "kept"
        self._draw, self._plugin_folder = draw, plugin_folder
        self._stop, self._reporter = stop, reporter

    def note(self, text: str) -> None:
        """One line for who waits: what takes long, when no samples are drawn."""
        self._reporter.note(text)

    # What a scoring that is recorded, or made from a record, does otherwise (artefacts.py).

    def _drawn(self, name: str, number: int, count: int) -> Any:
        """Chunk `number` of the draw `name`, unchecked."""
        assert self._draw is not None
        return self._draw(count)

    def _took_samples(self, name: str, drawn: Tensor) -> Tensor:
        """A checked chunk, as `reduce` is to be given it."""
        return drawn

    def _took_scores(self, name: str, values: np.ndarray) -> np.ndarray:
        """The values of one score for all examples of a question, as the task is to be given them."""
        return values

    def samples(
        self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000
    ) -> dict[str, np.ndarray]:
        """Draw `n` samples and return what `reduce` makes of them, concatenated over the chunks.

        `reduce` is given (at most `chunk`, *spec.shape) float32 values, checked for shape, range and
        finiteness, and returns named arrays whose first axis runs over the samples. It must depend on
        its argument alone, since a chunk that an interrupted run finished is not drawn again.
        """

        def draw(number: int, begin: int, count: int) -> dict[str, np.ndarray]:
            return self._one_chunk(name, number, count, reduce)

        return self._in_chunks(n, name, chunk, draw)

    def images(
        self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000
    ) -> dict[str, np.ndarray]:
        """As `samples`, of 8-bit images that are kept: beside what `reduce` makes of them come the "images".

        The values are rounded to bytes (`data.pool.to_bytes`) and `reduce` is given those, uint8 (at most
        `chunk`, *spec.shape). They are kept in the run store when the score is done; where that has been,
        no sample is drawn again, so a score that is added later is one of the same images.
        """
        kept = self._samples.with_name(f"{self._samples.name}-{name}-{n}.npz")
        before = self._drawn_before(kept, n)

        def reduce_bytes(x: Tensor) -> dict[str, np.ndarray]:
            pixels = to_bytes(x, self._spec)
            return {"images": pixels.cpu().numpy(), **reduce(pixels)}

        def draw(number: int, begin: int, count: int) -> dict[str, np.ndarray]:
            if not before:
                return self._one_chunk(name, number, count, reduce_bytes)
            images = before["images"][begin : begin + count]
            pixels = torch.from_numpy(images).to(self.device)
            self._took_samples(name, in_range(pixels, self._spec))
            return {"images": images, **reduce(pixels)}

        together = self._in_chunks(n, name, chunk, draw)
        if before:
            self.drawn, self.drawing_seconds = int(before["drawn"]), float(before["seconds"])
            self.diagnostics = {
                k.removeprefix(_DIAGNOSTIC): float(v) for k, v in before.items() if _DIAGNOSTIC in k
            }
        else:
            told = {_DIAGNOSTIC + key: np.asarray(value) for key, value in self.diagnostics.items()}
            cost = {"drawn": np.asarray(self.drawn), "seconds": np.asarray(self.drawing_seconds)}
            arrays.keep(kept, {"images": together["images"], **cost, **told}, what="the samples")
        return together

    def _drawn_before(self, path: Path, n: int) -> dict[str, np.ndarray]:
        """The images that were kept there with what they cost; nothing where they are not, or not whole."""
        if not path.exists():
            return {}
        before = arrays.kept(path) or {}
        images = before.get("images", np.zeros(0))
        whole = images.dtype == np.uint8 and images.shape == (n, *self._spec.shape)
        if not whole or not {"drawn", "seconds"} <= before.keys():
            self._reporter.note(f"{path.name} in the run store is damaged: the samples are drawn again")
            return {}
        self._reporter.note(f"{n:,} samples were drawn before and are taken from the run store")
        return before

    def _in_chunks(
        self, n: int, name: str, chunk: int, draw: Callable[[int, int, int], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """What `draw(number, begin, count)` gives for each chunk, concatenated; done ones are not drawn."""
        if self._draw is None:
            raise ContractError(
                "the task asks for samples of a model that has no sampler",
                where=self._plugin_folder.name,
                expected="a method sample(self, n) or one marked @sampler(name)",
            )
        self.asked += n
        parts: list[dict[str, np.ndarray]] = []
        chunks = range(0, n, chunk)
        done = sum(self._chunk_path(name, i).exists() for i in range(len(chunks)))
        self._reporter.begin("sampling", n, min(n, done * chunk))
        # A scoring along a training must not end the training's own safe points.
        before, self._stop.safe_points = self._stop.safe_points, True
        try:
            for number, begin in enumerate(chunks):
                path = self._chunk_path(name, number)
                count = min(chunk, n - begin)
                if (stored := arrays.kept(path)) is not None:
                    parts.append(stored)
                    continue
                parts.append(draw(number, begin, count))
                arrays.keep(path, parts[-1], what="a chunk of scores")
                self._reporter.update(begin + count)
                if self._stop.signal is not None:
                    raise self._stop.stopped(f"{begin + count} of {n} samples are drawn and kept")
        finally:
            self._stop.safe_points = before
            self._reporter.end()
        together = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        for key in [key for key in together if key.startswith(_DIAGNOSTIC)]:
            self.diagnostics[key.removeprefix(_DIAGNOSTIC)] = float(together.pop(key).mean())
        return together

    def scored_by(self, name: str) -> bool:
        """Whether the model has the score `name`."""
        return name in introspection.scores(type(self._model))

    def scores(
        self, x: Tensor, *, chunk: int = 1024, only: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Every named score of the examples `x`, (n, *spec.shape): float64 (n,), lower is more typical.

        `only` names those that are wanted. `x` may lie anywhere; `chunk` examples at a time go to the
        device. A lower bound of the log-likelihood comes with its sign turned. What takes long is kept, so
        `x` must be the same in a scoring that goes on. Raises ContractError for scores that are not one
        finite number an example.
        """
        wanted = {
            name: method
            for name, method in introspection.scores(type(self._model)).items()
            if only is None or name in only
        }
        parts: list[dict[str, np.ndarray]] = []
        chunks = torch.split(x, chunk)
        paths = [self._chunk_path(f"scores.{self._question}", number) for number in range(len(chunks))]
        self._reporter.begin("scoring", len(x), min(len(x), chunk * sum(path.exists() for path in paths)))
        try:
            # Example by example: what two scores have in common, a model may keep from one to the next.
            for number, (part, path) in enumerate(zip(chunks, paths, strict=True)):
                if (stored := arrays.kept(path)) is not None and _fits(stored, wanted, len(part)):
                    parts.append(stored)
                    continue
                began = time.perf_counter()
                parts.append({name: self._scores_of(name, method, part) for name, method in wanted.items()})
                done = min(len(x), (number + 1) * chunk)
                self._reporter.update(done)
                if time.perf_counter() - began > LONG:
                    arrays.keep(path, parts[-1], what="a chunk of scores")
                    if self._stop.signal is not None:
                        raise self._stop.stopped(f"{done} of {len(x)} examples are scored and kept")
        finally:
            self._reporter.end()
        made = {
            name: self._took_scores(name, np.concatenate([part[name] for part in parts])) for name in wanted
        }
        self._question += 1
        return made

    def picture(self, name: str, pixels: np.ndarray) -> None:
        """Keep a picture, (height, width, 3) uint8, to be written beside the result as `name`.png."""
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ContractError(
                f"picture '{name}' is {pixels.dtype} {pixels.shape}", expected="uint8 (height, width, 3)"
            )
        self.pictures[name] = pixels

    def _one_chunk(self, name: str, number: int, count: int, reduce: Reduce) -> dict[str, np.ndarray]:
        seeds.seed_everything(derive_seed(self.seed, "sample", self.sampler, name, number))
        self._model.diagnostics = {}
        began = time.perf_counter()
        try:
            drawn = self._drawn(name, number, count)
        except (EbbenchError, Stopped):
            raise
        except Exception as error:
            raise PluginCrash(
                f"sampler '{self.sampler}' raised {type(error).__name__}: {error}",
                where=fault(error, self._plugin_folder),
                expected=f"{count} samples",
                fix="mend the line named above; the trained state is kept",
            ) from error
        checked = self._took_samples(name, self._check(drawn, count))
        # Beside others on one GPU it is no timing, nor is any sum with it.
        self.drawing_seconds += math.nan if shared_gpu(self.device) else time.perf_counter() - began
        self.drawn += count
        said = {name: float(value) for name, value in self._model.diagnostics.items()}
        if not np.isfinite(list(said.values())).all():
            raise ContractError(
                f"a diagnostic of the draws is not finite: {said}",
                where=f"sampler '{self.sampler}' of {self._plugin_folder.name}",
                expected="finite numbers",
            )
        kept = {_DIAGNOSTIC + name: np.asarray([value]) for name, value in said.items()}
        return {**{key: np.asarray(value) for key, value in reduce(checked).items()}, **kept}

    def _scores_of(self, name: str, method: Callable[..., Tensor], x: Tensor) -> np.ndarray:
        where = f"score '{name}' of {self._plugin_folder.name}"
        expected = f"a floating-point tensor ({len(x)},), one finite number an example"
        try:
            values = method(self._model, x.to(self.device))
        except (EbbenchError, Stopped):
            raise
        except Exception as error:
            raise PluginCrash(
                f"score '{name}' raised {type(error).__name__}: {error}",
                where=fault(error, self._plugin_folder),
                expected=expected,
                fix="mend the line named above; the trained state is kept",
            ) from error
        if not isinstance(values, Tensor) or not values.is_floating_point():
            found = f"{values.dtype} tensor" if isinstance(values, Tensor) else type(values).__name__
            raise ContractError(f"the scores are a {found}", where=where, expected=expected)
        if tuple(values.shape) != (len(x),):
            raise ContractError(
                f"the scores have shape {tuple(values.shape)}", where=where, expected=expected
            )
        scores: np.ndarray = values.detach().double().cpu().numpy()
        if not np.isfinite(scores).all():
            bad = int((~np.isfinite(scores)).sum())
            raise ContractError(
                f"{bad} of {len(scores)} scores are NaN or infinite",
                where=where,
                expected=expected,
                fix="look at the curves: the training may have diverged",
            )
        return -scores if name == contract.BOUND else scores

    def _check(self, drawn: Any, count: int) -> Tensor:
        where = f"sampler '{self.sampler}' of {self._plugin_folder.name}"
        shape = (count, *self._spec.shape)
        if not isinstance(drawn, Tensor) or not drawn.is_floating_point():
            found = f"{drawn.dtype} tensor" if isinstance(drawn, Tensor) else type(drawn).__name__
            raise ContractError(
                f"the samples are a {found}", where=where, expected=f"a floating-point tensor {shape}"
            )
        if tuple(drawn.shape) != shape:
            raise ContractError(
                f"the samples have shape {tuple(drawn.shape)}", where=where, expected=str(shape)
            )
        drawn = drawn.detach().to(self.device, torch.float32)
        low, high = (float(v) for v in drawn.aminmax())
        if not np.isfinite([low, high]).all():
            raise ContractError(
                "the samples hold NaN or infinite values",
                where=where,
                expected="finite values",
                fix="look at the curves: the training may have diverged, or a chain left the finite numbers",
            )
        least = -np.inf if self._spec.low is None else self._spec.low
        most = np.inf if self._spec.high is None else self._spec.high
        slack = RANGE_TOLERANCE * (most - least) if np.isfinite(most - least) else 0.0
        if low < least - slack or high > most + slack:
            raise ContractError(
                f"the samples lie in [{low:.6g}, {high:.6g}]",
                where=where,
                expected=f"the data's range [{least:g}, {most:g}]",
                fix="end the generator with a tanh, or scale and clamp what it gives",
            )
        checked: Tensor = drawn.clamp(self._spec.low, self._spec.high) if slack else drawn
        return checked

    def _chunk_path(self, name: str, number: int) -> Path:
        return self._folder / f"{name}-{number:05}.npz"


def _fits(stored: Mapping[str, np.ndarray], names: Collection[str], n: int) -> bool:
    """Whether `stored` are scores of these names, of `n` examples."""
    return stored.keys() == set(names) and all(values.shape == (n,) for values in stored.values())
