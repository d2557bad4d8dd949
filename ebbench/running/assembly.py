"""Assembles the trained and scored parts of a task into one result and its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ebbench import contract
from ebbench.plugins.configs import plain, plain_value
from ebbench.record import schema
from ebbench.running import curves
from ebbench.running.identity import Identity
from ebbench.running.spec import Spec
from ebbench.storage.hashing import content_hash


@dataclass(frozen=True, kw_only=True)
class Part:
    """One trained and scored part of a task; its chunks stay in `chunks` until the result is written."""

    score: contract.Score
    training: dict[str, Any]
    scoring: dict[str, Any]
    pictures: Mapping[str, np.ndarray]
    chunks: Path


def assemble(
    spec: Spec,
    task: contract.Task,
    seed: int,
    identity: Identity,
    score: contract.Score,
    parts: Mapping[str, Part],
    scored_on: schema.Provenance,
) -> tuple[schema.Result, dict[str, np.ndarray]]:
    """The result of `score`, and its pictures (height, width, 3) by file name."""
    run_id = identity.run_id
    pictures = {
        f"{part}-{name}".strip("-").replace(" ", "-"): pixels
        for part, made in parts.items()
        for name, pixels in made.pictures.items()
    }
    alone = len(parts) == 1
    first = next(iter(parts.values()))
    if alone and first.training["curves"]["series"]:
        pictures["curves"] = curves.draw(first.training["curves"], f"{spec.model.name}, seed {seed}")
    names = {name: f"{run_id}.{name}.png" for name in pictures}
    whole = schema.build(
        {
            "schema_version": schema.SCHEMA_VERSION,
            "run_id": run_id,
            "created": schema.now(),
            "engine": contract.ENGINE,
            "hash_kind": "source",
            "task": {
                "name": spec.task.name,
                "version": task.version,
                "code_hash": spec.task.code_hash,
                "data_code_hash": spec.task.data_code_hash,
                "protocol": spec.protocol,
                "source": task.source,
                "options": plain(task.options),
            },
            "model": {
                "name": spec.model.name,
                "variant": spec.variant,
                "kind": "control" if spec.control else "model",
                "title": spec.model.card.title,
                "code_hash": spec.model.code_hash,
            },
            "sampler": {"name": spec.sampler, "knobs": {k: plain_value(v) for k, v in spec.knobs.items()}}
            if spec.sampler
            else None,
            "score": spec.score,
            "budget": spec.budget,
            "config": plain(spec.config),
            "overrides": {k: plain_value(v) for k, v in spec.overrides.items()},
            "seed": seed,
            "metrics": {name: float(value) for name, value in score.metrics.items()},
            "details": dict(score.details),
            "training": first.training if alone else _total_training(parts),
            "scoring": first.scoring if alone else _total_scoring(identity, parts),
            "parts": []
            if alone
            else [
                {
                    "name": name,
                    "metrics": {key: float(value) for key, value in part.score.metrics.items()},
                    "details": dict(part.score.details),
                    "training": part.training,
                    "scoring": part.scoring,
                }
                for name, part in parts.items()
            ],
            "pictures": names,
            "provenance": scored_on.model_dump(mode="json"),
            "verification": None,
        },
        where=run_id,
    )
    return whole, {names[name]: pixels for name, pixels in pictures.items()}


def _total_training(parts: Mapping[str, Part]) -> dict[str, Any]:
    """The total cost of the trainings of all parts; each part also keeps its own record."""
    records = [part.training for part in parts.values()]
    steps, seconds = sum(r["steps"] for r in records), sum(r["seconds"] for r in records)
    machines = [r["provenance"] for r in records]
    return {
        "hash": content_hash({name: part.training["hash"] for name, part in parts.items()}),
        "steps": steps,
        "seconds": round(seconds, 3),
        # A part without a rate shared its GPU with other processes, or took no step.
        "steps_per_second": (
            round(steps / seconds, 4) if all(r["steps_per_second"] for r in records) else None
        ),
        "stopped_by": records[0]["stopped_by"],
        # Records of earlier versions lack this field, because those versions made no graphs.
        "as_graph": any(r.get("as_graph") for r in records),
        "parameters": max(r["parameters"] for r in records),
        "base": records[0].get("base"),
        # If one part shared its GPU, the total seconds are not a valid timing.
        "provenance": next((m for m in machines if m["gpu"] and m["gpu"].get("shared")), machines[0]),
    }


def _total_scoring(identity: Identity, parts: Mapping[str, Part]) -> dict[str, Any]:
    records = [part.scoring for part in parts.values()]
    return {
        "hash": identity.scoring,
        "seconds": round(sum(r["seconds"] for r in records), 3),
        "samples": sum(r["samples"] or 0 for r in records) or None,
    }
