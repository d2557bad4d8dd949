"""What identifies a run: the hash of its training, the hash of its score, and the name of its result.

The *training* hash covers all that determines the trained state: the data (files, source, the task's data
key, the code that reads them), the model's code, its configuration, the budget, the seed, and the engine's
version. The *scoring* hash adds the task's version and options, the protocol, the sampler with its knobs,
and the declared score. So a new sampler, protocol or task version scores a stored training again and never
repeats it. No time and no number of threads is part of either.
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

# A file name has at most 255 bytes; what comes before and after the run id needs some of them.
MOST_READABLE = 120


@dataclass(frozen=True)
class Identity:
    """One training and one score of it, computed once and passed on.

    The keys are the JSON values that the hashes are taken of. `base` is the training below, of which this
    one is built; `run_id` names the result.
    """

    training_key: Mapping[str, Any]
    training: str
    scoring_key: Mapping[str, Any]
    scoring: str
    run_id: str
    base: Identity | None = None


def identify(spec: Spec, task: contract.Task, seed: int) -> Identity:
    """The identity of a run of `spec` on `task` (the whole task, or one part of it) under `seed`.

    Raises PluginCrash where the task's own code fails.
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
    # As the task settled them: what "auto" stood for, not that it was asked for.
    options = plain(task.options)
    if evaluates(task):
        # What is taken along a training cannot be taken again from its end.
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
    """Whether the task takes numbers along training."""
    return type(task).evaluate is not contract.Task.evaluate


def _run_id(spec: Spec, task: contract.Task, seed: int, scoring: str) -> str:
    """A file name that a person can read and that differs wherever the run does."""
    # As the task settled them, such as stacks=4 -> stacks4; a file that was given is named by the task.
    # What may be "auto" is not said: the name must be the same whether it was asked for or came so.
    defaults = dataclasses.asdict(type(spec.options)())
    said = [
        f"{key}{as_toml(value)}"
        for key, value in sorted(dataclasses.asdict(task.options).items())
        if defaults[key] not in ("auto", value)
    ]
    parts = [spec.variant, spec.budget, spec.protocol, spec.sampler or spec.score, task.source, *said]
    readable = "-".join(part for part in [*parts, f"s{seed}"] if part)[:MOST_READABLE]
    return re.sub(r"[^A-Za-z0-9._+=,@-]", "_", f"{readable}-{scoring[:10]}")
