"""What a task was given in a run, kept in the run store: a submission takes it from there and asks no model.

The task itself is given the model's own numbers; what is kept is rounded as a bundle has it (replay.py).
8-bit images lie in the run store already (`Scoring.images`), so only their number is noted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ebbench import contract
from ebbench.contract import DataSpec, Reduce
from ebbench.data.pool import in_range
from ebbench.record.schema import Result
from ebbench.running.chunks import ImageStore, image_file
from ebbench.running.replay import Arrays, Recording, as_bytes
from ebbench.storage import arrays
from ebbench.storage.files import home
from ebbench.storage.hashing import content_hash

HASH = re.compile("[0-9a-f]{64}")

# Bytes of samples that are kept of one scoring; of one that is given more, nothing is.
MOST = 512 << 20

# Before the name of a draw whose images the run store has already: how many of them each question took.
IMAGES = "images."


def images_of(place: Path, sampler: str, knobs: Mapping[str, Any]) -> Path:
    """Where the 8-bit images of a training lie, without the end of the name; `knobs` are JSON values.

    Neither the task's options nor its protocol move a draw.
    """
    return place / "samples" / content_hash({"sampler": sampler, "knobs": dict(knobs)})[:16]


class Watching(Recording):
    """A scoring that gives the task just what `scoring` gives, and notes it."""

    rounds = False

    def __init__(self, scoring: contract.Scoring, spec: DataSpec) -> None:
        self._noted: Arrays = {}
        self._size, self._whole = 0, True
        super().__init__(scoring, spec, self._noted)

    def samples(self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000) -> Arrays:
        """As any scoring's."""
        self._size += n * math.prod(self._spec.shape) * (1 if as_bytes(self._spec) else 4)
        if self._size > MOST or IMAGES + name in self._noted:
            self._whole = False
        if self._whole:
            return super().samples(n, reduce, name=name, chunk=chunk)
        self._noted.clear()
        return self._scoring.samples(n, reduce, name=name, chunk=chunk)

    def images(self, n: int, reduce: Reduce, *, name: str = "samples", chunk: int = 1000) -> Arrays:
        """The same."""
        key = IMAGES + name
        self._whole = self._whole and f"samples.{name}" not in self._noted
        self._noted[key] = np.append(self._noted.get(key, np.zeros(0, np.int64)), n)
        return self._scoring.images(n, reduce, name=name, chunk=chunk)

    def keep(self, place: Path, scoring: str) -> None:
        """Keep what was noted in the training's folder `place`, by the hash of the scoring.

        Where it is too much, or in an order that is not told, nothing is kept. Raises StorageError.
        """
        if self._whole:
            arrays.keep(_file(place, scoring), self._noted, what="what the task was given")
        else:
            _file(place, scoring).unlink(missing_ok=True)


def find(made: Result, task: contract.Task) -> Arrays | None:
    """All that `task` was given for a result, by the names of replay.py; None where any of it is gone.

    Nothing of the model is run. Raises StorageError for a file that cannot be read.
    """
    found: Arrays = {}
    of_task = task.parts(made.seed)
    if made.parts:
        parts = {part.name: (part.training.hash, part.scoring.hash) for part in made.parts}
    else:
        parts = dict.fromkeys(of_task, (made.training.hash, made.scoring.hash))
    # A hash becomes a path here, and a result may be anybody's.
    if list(parts) != list(of_task) or not all(HASH.fullmatch(h) for both in parts.values() for h in both):
        return None
    sampler, knobs = (made.sampler.name, made.sampler.knobs) if made.sampler else ("", {})
    for name, (training, scoring) in parts.items():
        place = home() / "runs" / training
        noted = arrays.kept(_file(place, scoring))
        if noted is None:
            return None
        spec, prefix = of_task[name].spec(), f"{name}/" if name else ""
        for key, values in noted.items():
            if not key.startswith(IMAGES):
                found[prefix + key] = values
                continue
            draw = key.removeprefix(IMAGES)
            pixels = []
            for n in values.tolist():
                path = image_file(images_of(place, sampler, knobs), draw, n)
                images = ImageStore(path).find((n, *spec.shape))
                if images is None:
                    return None
                pixels.append(images.pixels)
            together = np.concatenate(pixels)
            if not as_bytes(spec):
                together = in_range(torch.from_numpy(together), spec).numpy()
            found[f"{prefix}samples.{draw}"] = together
    return found


def _file(place: Path, scoring: str) -> Path:
    return place / "given" / f"{scoring}.npz"
