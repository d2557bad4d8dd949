"""What a task received in a run, kept in the run store: a submission uses it without running the model.

The task itself gets the model's exact numbers; the stored ones are rounded as in a bundle (replay.py). 8-bit
images are already in the run store (`Scoring.images`), so only their number is noted.
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

# Maximum bytes of samples to keep per scoring; a scoring with more keeps nothing.
MOST = 512 << 20

# Prefix of a draw whose images are already in the run store: the numbers of images that each request took.
IMAGES = "images."


def images_of(place: Path, sampler: str, knobs: Mapping[str, Any]) -> Path:
    """The path of a training's 8-bit images, without the suffix; `knobs` are JSON values.

    The task's options and protocol do not affect a draw.
    """
    return place / "samples" / content_hash({"sampler": sampler, "knobs": dict(knobs)})[:16]


class Watching(Recording):
    """A scoring that passes on exactly what `scoring` gives, and notes it."""

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
        """As any scoring's."""
        key = IMAGES + name
        self._whole = self._whole and f"samples.{name}" not in self._noted
        self._noted[key] = np.append(self._noted.get(key, np.zeros(0, np.int64)), n)
        return self._scoring.images(n, reduce, name=name, chunk=chunk)

    def keep(self, place: Path, scoring: str) -> None:
        """Store what was noted in the training's folder `place`, by the hash of the scoring.

        Nothing is stored if it is too much, or if its order is unknown. Raises StorageError.
        """
        if self._whole:
            arrays.keep(_file(place, scoring), self._noted, what="what the task was given")
        else:
            _file(place, scoring).unlink(missing_ok=True)


def find(made: Result, task: contract.Task) -> Arrays | None:
    """All that `task` received for a result, by the names of replay.py; None if any of it is missing.

    The model is not run. Raises StorageError for a file that cannot be read.
    """
    found: Arrays = {}
    of_task = task.parts(made.seed)
    if made.parts:
        parts = {part.name: (part.training.hash, part.scoring.hash) for part in made.parts}
    else:
        parts = dict.fromkeys(of_task, (made.training.hash, made.scoring.hash))
    # The hash becomes part of a path, and the result may be untrusted.
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
