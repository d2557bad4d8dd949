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
from ebbench.plugins.configs import plain_value
from ebbench.plugins.guard import plugin_code
from ebbench.running.artefacts import Recorded
from ebbench.running.assembly import Part
from ebbench.running.context import Context
from ebbench.running.curves import Curves
from ebbench.running.scoring import Scoring
from ebbench.storage.hashing import content_hash


def score_part(context: Context, model: contract.Model, training: dict[str, Any]) -> Part:
    """Score the model; its chunks stay where they are until the result is written."""
    spec, settings, place = context.spec, context.settings, context.place
    for module in introspection.nets(model).values():
        module.eval()
    # Neither the task's options nor its protocol move a draw.
    knobs = {name: plain_value(value) for name, value in spec.knobs.items()}
    drawn = content_hash({"sampler": spec.sampler, "knobs": knobs})[:16]
    folder = place / "scores" / context.identity.scoring
    make: Callable[..., Scoring] = Scoring
    if settings.record is not None:
        # A chunk that was kept before it was recorded is in no record: this scoring begins anew.
        folder = folder.with_name(f"{folder.name}-recorded")
        shutil.rmtree(folder, ignore_errors=True)
        make = partial(Recorded, part=context.name, arrays=settings.record)
    scoring = open_scoring(context, model, folder, place / "samples" / drawn, make)
    scoring.evaluations = Curves(**training["evaluations"])
    began = time.perf_counter()
    with pinned(), plugin_code(spec.task, place, "score"):
        score = context.task.score(model, scoring)
    return Part(
        score=score,
        training=training,
        scoring={
            "hash": context.identity.scoring,
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
    context: Context,
    model: contract.Model,
    folder: Path,
    samples: Path | None = None,
    make: Callable[..., Scoring] = Scoring,
) -> Scoring:
    """A scoring of the trained `model` that keeps its chunks in `folder` and its images at `samples`."""
    spec, settings = context.spec, context.settings
    draw = None
    if spec.sampler:
        draw = partial(introspection.samplers(spec.model.cls)[spec.sampler], model, **spec.knobs)
    return make(
        model,
        context.task.spec(),
        folder,
        seed=context.seed,
        device=settings.device,
        sampler=spec.sampler,
        samples=samples,
        draw=draw,
        declared=spec.score,
        plugin_folder=spec.model.folder,
        stop=context.stop,
        reporter=settings.reporter,
    )
