"""A trained model -> its score by a task."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ebbench import contract
from ebbench.device import pinned
from ebbench.plugins import introspection
from ebbench.plugins.guard import plugin_code
from ebbench.running.artefacts import Recorded
from ebbench.running.assembly import Part
from ebbench.running.curves import Curves
from ebbench.running.scoring import Scoring
from ebbench.running.settings import Settings
from ebbench.running.signals import StopRequest
from ebbench.running.spec import Spec
from ebbench.storage.hashing import content_hash


def score_part(
    spec: Spec,
    task: contract.Task,
    seed: int,
    place: Path,
    model: contract.Model,
    training: dict[str, Any],
    settings: Settings,
    stop: StopRequest,
    name: str,
) -> Part:
    """Score the model; its chunks stay where they are until the result is written."""
    scoring_hash = content_hash(spec.scoring_key(task, seed))
    for module in introspection.nets(model).values():
        module.eval()
    # Neither the task's options nor its protocol move a draw.
    drawn = content_hash({"sampler": spec.sampler, "knobs": dict(spec.knobs)})[:16]
    folder = place / "scores" / scoring_hash
    make: Callable[..., Scoring] = Scoring
    if settings.record is not None:
        # A chunk that was kept before it was recorded is in no record: this scoring begins anew.
        folder = folder.with_name(f"{scoring_hash}-recorded")
        shutil.rmtree(folder, ignore_errors=True)
        make = partial(Recorded, part=name, arrays=settings.record)
    scoring = open_scoring(spec, task, seed, model, folder, settings, stop, place / "samples" / drawn, make)
    scoring.evaluations = Curves(**training["evaluations"])
    began = time.perf_counter()
    with pinned(), plugin_code(spec.task, place, "score"):
        score = task.score(model, scoring)
    return Part(
        score=score,
        training=training,
        scoring={
            "hash": scoring_hash,
            "seconds": round(time.perf_counter() - began, 3),
            "samples_per_second": (
                round(scoring.drawn / scoring.drawing_seconds, 1)
                if scoring.drawn and math.isfinite(scoring.drawing_seconds)
                else None
            ),
            "samples": scoring.asked or None,
            "diagnostics": scoring.diagnostics,
        },
        pictures=scoring.pictures,
        chunks=folder,
    )


def open_scoring(
    spec: Spec,
    task: contract.Task,
    seed: int,
    model: contract.Model,
    folder: Path,
    settings: Settings,
    stop: StopRequest,
    samples: Path | None = None,
    make: Callable[..., Scoring] = Scoring,
) -> Scoring:
    draw = None
    if spec.sampler:
        draw = partial(introspection.samplers(spec.model.cls)[spec.sampler], model, **spec.knobs)
    return make(
        model,
        task.spec(),
        folder,
        seed=seed,
        device=settings.device,
        sampler=spec.sampler,
        samples=samples,
        draw=draw,
        declared=spec.score,
        plugin_folder=spec.model.folder,
        stop=stop,
        reporter=settings.reporter,
    )
