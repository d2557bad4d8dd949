"""Scores a model that lives in the user's own code, from its samples or functions.

There is no folder and no card; nothing is trained and nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ebbench.contract import BOUND, CLASSIFY, DataSpec, Score, Task
from ebbench.data.store import Store
from ebbench.device import choose_device, pinned
from ebbench.errors import ContractError, UsageError, unknown
from ebbench.plugins import loader
from ebbench.plugins.configs import build_config
from ebbench.plugins.guard import plugin_code
from ebbench.record.schema import EXTERNAL
from ebbench.record.values import MOST_OF_A_SEED
from ebbench.running import progress, seeds
from ebbench.running.replay import PLAIN, ArraySource, as_bytes, conversion, scored
from ebbench.running.sources import CallableSource, Source, as_tensor
from ebbench.running.spec import check_declared
from ebbench.running.words import check_types

Function = Callable[[Any], Any]


def evaluate(
    task: str | os.PathLike[str],
    samples: Any = None,
    energy: Function | Mapping[str, Any] | None = None,
    log_likelihood_bound: Function | Mapping[str, Any] | None = None,
    *,
    classify: Function | Mapping[str, Any] | None = None,
    protocol: str = "",
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    quiet: bool = True,
) -> Score:
    """Score your own model's samples or functions on a task; nothing is trained or written.

    `ebbench show TASK` says what the task needs; x is float32 (n, *shape), in the data's range.

    - `task`: a name, or the path of a folder.
    - `samples`: an array or a tensor (n, *shape), of floats in the data's range or, for images, of bytes
      (uint8); as many as the task needs. Or a function that takes n and returns n new samples: it is called
      several times, and torch, NumPy and Python are seeded before each call.
    - `energy`: a function that takes x, a tensor on `device`, and returns (n,), lower is more typical; or
      several by name. The task's metrics use the one named "energy", or the only one.
    - `log_likelihood_bound`: a function that takes x and returns (n,), nats, a lower bound.
    - `classify`: a function that takes x and returns (n,), the class of each example, from 0.
    - If the task has several parts (one per held-out digit, say), each of these may be a mapping from part
      names to values. Arrays must be given as a mapping; a function outside a mapping serves all parts.
    - `protocol`: "" is the task's first. `options`: those of the task, as for `--set`.
    - `seed`: selects the task's random split and seeds the draws.
    - `data_dir`: the folder with the data sets. `device`: "cpu", "cuda", ...; `quiet`: False shows progress.

    The random states of torch, NumPy and Python are restored afterwards. Exceptions of your functions reach
    you unchanged. Raises UsageError and ContractError for arguments that do not fit (with the argument, what
    was found and what was expected), DataMissing for missing data, and PluginError for a task that cannot be
    loaded.
    """
    check_types(task=task, protocol=protocol, options=options, device=device)
    _check_seed(seed)
    place = choose_device(device)
    store = Store(None if data_dir is None else Path(data_dir))
    plugin, asked = open_task(os.fspath(task), protocol, options or {}, store, where="options")
    with plugin_code(plugin, None, "parts"):
        parts = {name: part.spec() for name, part in asked.parts(seed).items()}
    _check_needed(plugin, samples, energy, log_likelihood_bound, classify)
    more = {BOUND: log_likelihood_bound, CLASSIFY: classify}
    functions = {name: _functions(energy, more, name, parts) for name in parts}
    common = set.intersection(*(set(one) for one in functions.values()))
    arrays: list[ArraySource] = []
    sources: dict[str, Source] = {}
    for name, spec in parts.items():
        drawn = _of_part("samples", samples, name, parts)
        takes = CallableSource(
            spec, seed=seed, device=place, sample=drawn if callable(drawn) else None, scores=functions[name]
        )
        if drawn is None or callable(drawn):
            sources[name] = takes
            continue
        if len(parts) > 1 and not isinstance(samples, Mapping):
            raise UsageError(
                "'samples' is one array, but the task has several parts",
                where=f"task '{plugin.name}'",
                expected=f"a mapping with an array for each: {', '.join(parts)}",
            )
        kept = {PLAIN: _array(drawn, spec)}
        arrays.append(ArraySource(kept, spec, where="samples", device=place, floats=True))
        sources[name] = _Joined(arrays[-1], takes)
    before = seeds.capture()
    try:
        with pinned():
            made = scored(
                asked,
                lambda name, part: sources[name],
                seed=seed,
                reporter=progress.reporter(quiet),
                sampler=EXTERNAL if plugin.cls.needs == "sample" else "",
                declared=declared_among(plugin, common, "energy"),
                device=place,
            )
    finally:
        seeds.restore(before)
    for one in arrays:
        one.check_all_taken()
    return made.score


def open_task(
    task: str, protocol: str, options: Mapping[str, Any], store: Store, *, where: str
) -> tuple[loader.Plugin, Task]:
    """A task, ready to score, and its plug-in; `where` says where its options were given.

    Raises UsageError for an unknown task, protocol or option, and PluginError for a broken task.
    """
    plugin = loader.load("task", task)
    check_declared(plugin)
    protocols = plugin.cls.protocols
    chosen = protocol or next(iter(protocols))
    if chosen not in protocols:
        raise unknown("protocol", chosen, protocols, where=f"task '{plugin.name}'")
    settled = build_config(plugin.cls.Options, dict(options), where)
    with plugin_code(plugin, None, "__init__"):
        made: Task = plugin.cls(settled, chosen, store)
    return plugin, made


def declared_among(plugin: loader.Plugin, names: Collection[str], where: str) -> str:
    """Which of the scores `names` a task's metrics use; "" for a task that needs no energy.

    It is "energy", or the only one. Raises UsageError if that does not determine it.
    """
    if plugin.cls.needs != "energy":
        return ""
    if "energy" in names or len(names) == 1:
        return "energy" if "energy" in names else next(iter(names))
    raise UsageError(
        "it is not clear which score the metrics must use",
        where=where,
        expected="a score called 'energy', or a single one",
        fix=f"name one of them 'energy'; the scores are {', '.join(sorted(names)) or 'none'}",
    )


def check_scaled(name: str, values: np.ndarray, spec: DataSpec, where: str) -> None:
    """Raise ContractError for images that were truncated to integers before scaling to bytes."""
    if values.dtype == np.uint8 and values.size and values.max() == 1:
        raise ContractError(
            f"no value of '{name}' is above 1",
            where=where,
            expected="bytes from 0 to 255",
            fix=f"{name} = {conversion(spec, np.dtype(np.float32))}",
        )


class _Joined:
    """Samples from one source and scores from another."""

    def __init__(self, samples: Source, scores: Source) -> None:
        self.expect, self.draw = samples.expect, samples.draw
        self.scored_by, self.answers, self.score = scores.scored_by, scores.answers, scores.score


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MOST_OF_A_SEED:
        raise UsageError(
            f"the seed is {seed!r}", where="seed", expected=f"a whole number from 0 to {MOST_OF_A_SEED}"
        )


def _check_needed(plugin: loader.Plugin, samples: Any, energy: Any, bound: Any, classify: Any) -> None:
    """Raise UsageError unless all that the task needs is given, and nothing that it cannot use."""
    needs = plugin.cls.needs
    there = {
        "sample": samples is not None,
        "energy": energy is not None or bound is not None,
        BOUND: bound is not None,
        CLASSIFY: classify is not None,
    }
    argument = {"sample": "samples"}.get(needs, needs)
    if not there[needs]:
        raise UsageError(
            f"task '{plugin.name}' needs '{argument}'",
            where="evaluate()",
            expected=f"{argument}=...",
            fix="give it; help(ebbench.evaluate) says what it must be",
        )
    if needs != "sample" and samples is not None:
        raise UsageError(
            f"task '{plugin.name}' does not use samples, so they would change nothing",
            where="samples",
            expected=f"{argument}=... alone",
            fix="leave it out",
        )


def _functions(
    energy: Any, more: Mapping[str, Any], part: str, parts: Collection[str]
) -> dict[str, Function]:
    """The user's functions for one part, by score name; `more` are those besides the energy's."""
    chosen = _of_part("energy", energy, part, parts)
    named = dict(chosen) if isinstance(chosen, Mapping) else {"energy": chosen}
    named |= {name: _of_part(name, value, part, parts) for name, value in more.items()}
    found = {name: function for name, function in named.items() if function is not None}
    for name, function in found.items():
        if not callable(function):
            argument = name if name in ("energy", *more) else f"energy[{name!r}]"
            raise UsageError(
                f"'{argument}' is a {type(function).__name__}",
                where=argument,
                expected="a function that takes a tensor x and returns a tensor (n,)",
            )
    return found


def _of_part(argument: str, value: Any, part: str, parts: Collection[str]) -> Any:
    """An argument's value for one part: its entry if it is a mapping by part, else the same for all."""
    if len(parts) == 1 or not isinstance(value, Mapping):
        return value
    if not set(value) & set(parts) and argument == "energy":
        # A mapping by score names, the same for every part.
        return value
    if set(value) != set(parts):
        raise UsageError(
            f"'{argument}' is given for {', '.join(map(str, value))}",
            where=argument,
            expected=f"one for each part: {', '.join(parts)}",
        )
    return value[part]


def _array(samples: Any, spec: DataSpec) -> np.ndarray:
    """Samples that the user gave as an array, in the engine's form: bytes for images, else float32."""
    values = as_tensor(samples, "samples").detach().cpu()
    sizes = ", ".join(map(str, spec.shape))
    expected = f"an array (number of samples, {sizes}) of floats" + (
        f" in [{spec.low:g}, {spec.high:g}]" if spec.low is not None and spec.high is not None else ""
    )
    if values.ndim == 0 or tuple(values.shape[1:]) != spec.shape:
        last = len(spec.shape) == 3 and tuple(values.shape[1:]) == (*spec.shape[1:], spec.shape[0])
        raise ContractError(
            f"'samples' has the shape {tuple(values.shape)}",
            where="samples",
            expected=expected,
            fix="channels come first: samples.transpose(0, 3, 1, 2)" if last else "",
        )
    if values.dtype == torch.uint8:
        if not as_bytes(spec):
            raise ContractError("'samples' holds bytes", where="samples", expected=expected)
        check_scaled("samples", values.numpy(), spec, "samples")
        return values.numpy()
    return values.float().numpy()
