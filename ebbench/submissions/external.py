"""Samples or scores that were made elsewhere -> the result that they are worth, as a submission's claim."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ebbench import contract
from ebbench.data.store import Store
from ebbench.device import pinned
from ebbench.errors import ContractError, StorageError, UsageError, unknown
from ebbench.plugins import loader
from ebbench.plugins.configs import build_config
from ebbench.record import provenance, schema
from ebbench.record.schema import EXTERNAL
from ebbench.running.progress import Reporter
from ebbench.running.replay import PLAIN, conversion, digest, replay
from ebbench.storage.hashing import content_hash
from ebbench.submissions import bundles


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, by the names that tasks know: "samples" alone is their plain draw.

    Raises StorageError if it cannot be read and BundleError for what is no plain array.
    """
    try:
        with path.open("rb") as file:
            found = bundles.read_arrays(file, path.name, plain=True)
    except OSError as error:
        raise StorageError(
            f"the samples cannot be read: {error.strerror or error}",
            where=str(path),
            expected="an npz file, as numpy.savez writes it",
        ) from error
    return {re.sub(r"(^|/)samples$", rf"\g<1>{PLAIN}", name): values for name, values in found.items()}


def claim(
    card: bytes,
    arrays: Mapping[str, np.ndarray],
    *,
    task: str,
    protocol: str,
    options: Mapping[str, Any],
    seed: int,
    store: Store,
    where: str,
    reporter: Reporter,
) -> schema.Result:
    """Score `arrays` by a task, under the name of a model's card.

    The result has no training that anybody here knows of: no steps, no seconds, no parameters. Raises
    BundleError for a wrong card, ContractError for arrays that do not fit (`where` names their file).
    """
    model = bundles.read_card(card, "card.toml")
    if model.kind == "control":
        raise UsageError(
            "a control cannot be submitted as samples",
            where="card.toml: kind",
            expected='kind = "model"',
            fix="leave it out",
        )
    if model.name in loader.names("model"):
        raise UsageError(
            f"'{model.name}' is a model of this project",
            where="card.toml: name",
            expected="a name of its own",
            fix="choose another",
        )
    plugin = loader.load("task", task)
    cls = plugin.cls
    protocol = protocol or next(iter(cls.protocols))
    if protocol not in cls.protocols:
        raise unknown("protocol", protocol, cls.protocols, where=f"task '{plugin.name}'")
    if cls.needs == "energy" and not model.score:
        raise UsageError(
            "the card declares no score",
            where="card.toml",
            expected='score = "energy", or which of the arrays scores.N.NAME it is',
            fix="declare it: which score counts is not for the test set to choose",
        )
    asked: contract.Task = cls(build_config(cls.Options, options, "--set"), protocol, store)
    sampler = EXTERNAL if cls.needs == "sample" else ""
    for name, values in arrays.items():
        # Cut to integers before they were scaled, images still have the type.
        if name.startswith("samples") and values.dtype == np.uint8 and values.size and values.max() == 1:
            raise ContractError(
                f"no value of '{name}' is above 1",
                where=where,
                expected="bytes from 0 to 255",
                fix=f"numpy.savez(path, samples=x), x = {conversion(asked.spec(), np.dtype(np.float32))}",
            )
    began = time.perf_counter()
    with pinned():
        declared = model.score if cls.needs == "energy" else ""
        replayed = replay(
            asked, arrays, seed=seed, where=where, reporter=reporter, sampler=sampler, declared=declared
        )
        seconds = time.perf_counter() - began
        code = hashlib.sha256(card).hexdigest()
        command = f"ebbench submit --task {plugin.name} --samples {where} --card card.toml"
        scored_on = provenance.collect(torch.device("cpu"), dict(asked.data_hashes), code, command)
    made = digest(arrays)
    settled = dataclasses.asdict(asked.options)
    key = {
        "artefacts": made,
        "task": plugin.name,
        "version": asked.version,
        "options": settled,
        "protocol": protocol,
    }
    scoring = content_hash(key)
    training = {"hash": made, "steps": 0, "seconds": 0.0, "stopped_by": "none", "parameters": 0}
    words = [EXTERNAL, protocol, asked.source, f"s{seed}", scoring[:10]]
    return schema.build(
        {
            "schema_version": schema.SCHEMA_VERSION,
            "run_id": re.sub(r"[^A-Za-z0-9._+=,@-]", "_", "-".join(words)),
            "created": schema.now(),
            "task": {
                "name": plugin.name,
                "version": asked.version,
                "protocol": protocol,
                "source": asked.source,
                "options": settled,
            },
            "model": {"name": model.name, "kind": "model", "title": model.title, "code_hash": code},
            "sampler": {"name": sampler} if sampler else None,
            "score": declared,
            "budget": EXTERNAL,
            "seed": seed,
            "metrics": {name: float(value) for name, value in replayed.score.metrics.items()},
            "details": dict(replayed.score.details),
            "training": training,
            "scoring": {"hash": scoring, "seconds": round(seconds, 3), "samples": replayed.samples or None},
            "parts": [
                {
                    "name": name,
                    "metrics": dict(part.metrics),
                    "details": dict(part.details),
                    "training": training,
                    "scoring": {"hash": scoring, "seconds": 0.0},
                }
                for name, part in replayed.parts.items()
                if name
            ],
            "provenance": scored_on.model_dump(mode="json"),
        },
        where=where,
    )
