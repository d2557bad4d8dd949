"""The identity of a run: the hash of its training, the hash of its score, and the name of its result.

The *training* hash covers all that determines the trained state: the data (files, source, the task's data
key, the code that reads them), the model's code and configuration, the budget, the seed, and the engine's
version. The *scoring* hash adds the task's version and options, the protocol, the sampler with its knobs, and
the declared score. A new sampler, protocol or task version therefore scores a stored training again and never
repeats it. Time and number of threads are part of neither.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ebbench import contract
from ebbench.plugins.configs import plain, plain_value
from ebbench.plugins.guard import plugin_code
from ebbench.record.commands import as_toml
from ebbench.running.spec import Spec
from ebbench.storage.hashing import content_hash

# File names have at most 255 bytes, and the text before and after the run id needs some of them.
MOST_READABLE = 120


@dataclass(frozen=True)
class Identity:
    """The identity of one training and its score, computed once and passed on.

    The keys are the JSON values behind the hashes. `base` is the identity of the training that this one
    builds on; `run_id` names the result.
    """

    training_key: Mapping[str, Any]
    training: str
    scoring_key: Mapping[str, Any]
    scoring: str
    run_id: str
    base: Identity | None = None


def identify(spec: Spec, task: contract.Task, seed: int) -> Identity:
    """The identity of a run of `spec` on `task` (the whole task, or one part of it) with `seed`.

    Raises PluginCrash if the task's own code fails.
    """
    with plugin_code(spec.task, None, "data_key"):
        data = {"source": task.source, "files": dict(task.data_hashes), "key": task.data_key()}
    return _identify(spec, task, data | {"code": spec.task.data_code_hash}, seed)


def _identify(spec: Spec, task: contract.Task, data: Mapping[str, Any], seed: int) -> Identity:
    base = _identify(spec.base, task, data, seed) if spec.base is not None else None
    training_key: dict[str, Any] = {
        "engine": contract.ENGINE,
        "data": data,
        "model": spec.model.name,
        "code": spec.model.code_hash,
        "config": plain(spec.config),
        "budget": spec.budget,
        "seed": seed,
    }
    if base is not None:
        training_key["base"] = base.training_key
    # As the task resolved them: what "auto" stands for.
    options = plain(task.options)
    if evaluates(task):
        # Evaluations during a training cannot be repeated after its end.
        training_key["evaluations"] = {
            "task": spec.task.name,
            "version": task.version,
            "protocol": spec.protocol,
            "options": options,
        }
    training = content_hash(training_key)
    scoring_key: dict[str, Any] = {
        "engine": contract.ENGINE,
        "training": training,
        "task": spec.task.name,
        "version": task.version,
        "options": options,
        "protocol": spec.protocol,
        "sampler": spec.sampler,
        "knobs": {name: plain_value(value) for name, value in spec.knobs.items()},
    }
    if spec.score:
        scoring_key["score"] = spec.score
    scoring = content_hash(scoring_key)
    return Identity(training_key, training, scoring_key, scoring, _run_id(spec, task, seed, scoring), base)


def evaluates(task: contract.Task) -> bool:
    """Whether the task evaluates during training."""
    return type(task).evaluate is not contract.Task.evaluate


def _run_id(spec: Spec, task: contract.Task, seed: int, scoring: str) -> str:
    """A readable file name that differs between all different runs."""
    # As the task resolved them, such as stacks=4 -> stacks4; a given file is named by the task. Options that
    # may be "auto" are omitted, so that the name does not depend on how they were set.
    defaults = dataclasses.asdict(type(spec.options)())
    said = [
        f"{key}{as_toml(value)}"
        for key, value in sorted(dataclasses.asdict(task.options).items())
        if defaults[key] not in ("auto", value)
    ]
    parts = [spec.variant, spec.budget, spec.protocol, spec.sampler or spec.score, task.source, *said]
    readable = "-".join(part for part in [*parts, f"s{seed}"] if part)[:MOST_READABLE]
    return re.sub(r"[^A-Za-z0-9._+=,@-]", "_", f"{readable}-{scoring[:10]}")
