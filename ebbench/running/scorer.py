"""Scores the trained model of one part of a run."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from ebbench import contract
from ebbench.device import pinned
from ebbench.plugins import introspection, loader
from ebbench.plugins.configs import plain_value
from ebbench.plugins.guard import plugin_code
from ebbench.running import given
from ebbench.running.assembly import Part
from ebbench.running.chunks import Chunks
from ebbench.running.context import Context
from ebbench.running.curves import Curves
from ebbench.running.replay import Recording
from ebbench.running.scoring import Scoring
from ebbench.running.sources import ModelSource, Source


def score_part(context: Context, model: contract.Model, training: dict[str, Any]) -> Part:
    """Score the model; its chunks stay on disk until the result is written."""
    spec, settings, place = context.spec, context.settings, context.place
    for module in introspection.nets(model).values():
        module.eval()
    # What `reduce` made of a chunk depends on the task's code, which the scoring's hash does not cover.
    folder = place / "scores" / f"{context.identity.scoring}-{spec.task.code_hash[:12]}"
    if settings.record is not None:
        # Chunks that were kept without recording cannot be used here.
        folder = folder.with_name(f"{folder.name}-recorded")
    # Models that are not the project's own may be submitted.
    watched = settings.record is None and spec.model.folder not in loader.built_in("model").values()
    if watched:
        folder = folder.with_name(f"{folder.name}-watched")
    knobs = {name: plain_value(value) for name, value in spec.knobs.items()}
    images = given.images_of(place, spec.sampler, knobs)
    along = Curves(**training["evaluations"])
    scoring = open_scoring(context, model, folder, images=images, evaluations=along)
    shown: contract.Scoring = scoring
    if settings.record is not None:
        shown = Recording(scoring, context.task.spec(), settings.record, context.name)
    elif watched:
        shown = watching = given.Watching(scoring, context.task.spec())
    began = time.perf_counter()
    with pinned(), plugin_code(spec.task, place, "score"):
        score = context.task.score(model, shown)
    if watched:
        watching.keep(place, context.identity.scoring)
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
    *,
    images: Path | None = None,
    evaluations: Curves | None = None,
) -> Scoring:
    """A scoring of the trained `model` that keeps its chunks in `folder` and its images at `images`."""
    spec, settings = context.spec, context.settings
    data = context.task.spec()
    return Scoring(
        _source(context, model),
        data,
        Chunks(folder),
        seed=context.seed,
        device=settings.device,
        sampler=spec.sampler,
        declared=spec.score,
        evaluations=evaluations,
        images=images,
        stop=context.stop,
        reporter=settings.reporter,
    )


def _source(context: Context, model: contract.Model) -> Source:
    spec, settings = context.spec, context.settings
    if settings.apart is not None and settings.apart.takes(spec):
        return settings.apart.source(context, model)
    return ModelSource(
        model,
        spec.model,
        context.task.spec(),
        seed=context.seed,
        device=settings.device,
        sampler=spec.sampler,
        knobs=spec.knobs,
        place=context.place,
    )
