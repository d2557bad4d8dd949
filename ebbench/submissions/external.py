"""Score samples or scores that other software made, and return the result that a submission claims."""

from __future__ import annotations

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
from ebbench.errors import StorageError, UsageError
from ebbench.plugins import loader
from ebbench.plugins.cards import ModelCard
from ebbench.plugins.configs import plain
from ebbench.plugins.guard import plugin_code
from ebbench.record import provenance, schema
from ebbench.record.schema import EXTERNAL
from ebbench.running.outside import check_scaled, declared_among, open_task
from ebbench.running.progress import Reporter
from ebbench.running.replay import PLAIN, Replay, digest, replay
from ebbench.storage.hashing import content_hash
from ebbench.submissions import bundles


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an npz file, by the names that tasks use. "samples" is short for "samples.samples".

    Raises StorageError if the file cannot be read or gives an array twice, and BundleError for an array with
    another name or dtype.
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
    made: dict[str, np.ndarray] = {}
    for name, values in found.items():
        known = re.sub(r"(^|/)samples$", rf"\g<1>{PLAIN}", name)
        if known in made:
            raise StorageError(
                f"two arrays are '{known}'",
                where=str(path),
                expected="each array once: 'samples' is another name of 'samples.samples'",
                fix="leave one of them out",
            )
        made[known] = values
    return made


def score_file(
    path: Path,
    *,
    task: str,
    protocol: str,
    options: Mapping[str, Any],
    seed: int,
    store: Store,
    where: str,
    reporter: Reporter,
) -> tuple[loader.Plugin, contract.Task, Replay]:
    """Score the arrays of an npz file by a task, without a card. Return the plug-in, the task and the score.

    `where` says where the user gave the options. Raises UsageError, and the errors of `read_arrays` and
    `score_arrays`.
    """
    arrays = read_arrays(path)
    plugin, asked = open_task(task, protocol, options, store, where=where)
    names = {name.rpartition(".")[2] for name in arrays if name.rpartition("/")[2].startswith("scores.")}
    made = score_arrays(
        plugin,
        asked,
        arrays,
        seed=seed,
        where=path.name,
        reporter=reporter,
        declared=declared_among(plugin, names, path.name),
    )
    return plugin, asked, made


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
    """Score `arrays` by a task, and return the result under the name of the model's card.

    Nothing is known of the training, so the result states 0 steps, seconds and parameters. Raises BundleError
    for an invalid card, UsageError for a card that cannot be submitted, and ContractError for arrays that do
    not fit the task. `where` names the file of the arrays.
    """
    model = bundles.read_card(card, "card.toml")
    _check_card(model)
    plugin, asked = open_task(task, protocol, options, store, where="--set")
    declared = _declared(model, plugin)
    began = time.perf_counter()
    replayed = score_arrays(
        plugin, asked, arrays, seed=seed, where=where, reporter=reporter, declared=declared
    )
    seconds = round(time.perf_counter() - began, 3)
    code = hashlib.sha256(card).hexdigest()
    command = f"ebbench submit --task {plugin.name} --samples {where} --card card.toml"
    scored_on = provenance.collect(torch.device("cpu"), dict(asked.data_hashes), code, command)
    made = digest(arrays)
    options_ = plain(asked.options)
    scoring = content_hash(
        {
            "artefacts": made,
            "task": plugin.name,
            "version": asked.version,
            "options": options_,
            "protocol": asked.protocol,
        }
    )
    training = {"hash": made, "steps": 0, "seconds": 0.0, "stopped_by": "none", "parameters": 0}
    words = [EXTERNAL, asked.protocol, asked.source, f"s{seed}", scoring[:10]]
    return schema.build(
        {
            "schema_version": schema.SCHEMA_VERSION,
            "run_id": re.sub(r"[^A-Za-z0-9._+=,@-]", "_", "-".join(words)),
            "created": schema.now(),
            "engine": contract.ENGINE,
            "hash_kind": "source",
            "task": {
                "name": plugin.name,
                "version": asked.version,
                "code_hash": plugin.code_hash,
                "data_code_hash": plugin.data_code_hash,
                "protocol": asked.protocol,
                "source": asked.source,
                "options": options_,
            },
            "model": {"name": model.name, "kind": "model", "title": model.title, "code_hash": code},
            "sampler": {"name": EXTERNAL} if plugin.cls.needs == "sample" else None,
            "score": declared,
            "budget": EXTERNAL,
            "seed": seed,
            "metrics": {name: float(value) for name, value in replayed.score.metrics.items()},
            "details": dict(replayed.score.details),
            "training": training,
            "scoring": {"hash": scoring, "seconds": seconds, "samples": replayed.samples or None},
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


def score_arrays(
    plugin: loader.Plugin,
    task: contract.Task,
    arrays: Mapping[str, np.ndarray],
    *,
    seed: int,
    where: str,
    reporter: Reporter,
    declared: str,
) -> Replay:
    """Score arrays that were made by other software. `where` names their file.

    Raises ContractError for arrays that do not fit the task.
    """
    with plugin_code(plugin, None, "spec"):
        spec = task.spec()
    for name, values in arrays.items():
        if name.rpartition("/")[2].startswith("samples"):
            check_scaled(name, values, spec, where)
    with pinned(), plugin_code(plugin, None, "score"):
        return replay(
            task,
            arrays,
            seed=seed,
            where=where,
            reporter=reporter,
            sampler=EXTERNAL if plugin.cls.needs == "sample" else "",
            declared=declared,
        )


def _check_card(model: ModelCard) -> None:
    """Raise UsageError if the card is of a control or of a model of the project."""
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
            expected="a new name",
            fix="choose another",
        )


def _declared(model: ModelCard, plugin: loader.Plugin) -> str:
    """The score that the card declares, or "" if the task needs none. Raises UsageError if it is missing."""
    if plugin.cls.needs != "energy":
        return ""
    if not model.score:
        raise UsageError(
            "the card declares no score",
            where="card.toml",
            expected='score = "energy", or which of the arrays scores.N.NAME it is',
            fix="declare the score in the card; the test set must not decide which one counts",
        )
    return model.score
