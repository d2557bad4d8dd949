"""Try a task: build it under each of its protocols, and call the methods that a run calls first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from ebbench import contract
from ebbench.conformance import beside
from ebbench.conformance.reports import Report, reported
from ebbench.conformance.watch import Watch
from ebbench.data.store import Store
from ebbench.errors import ContractError, DataError, shown
from ebbench.plugins import loader


def tried(plugin: loader.Plugin, limit: float) -> Iterator[Report]:
    """Try a task under each protocol, with its default options and without downloads."""
    before = beside.listing(plugin.folder)
    watch = Watch(plugin)
    for protocol in plugin.cls.protocols:
        yield reported(plugin, f"protocol {protocol}", partial(_protocol, plugin, protocol, watch), limit)
    untouched = partial(beside.check_untouched, plugin.folder, before, watch.wrote_at)
    yield reported(plugin, "leaves its folder alone", untouched, limit)
    if watch.printed:
        yield Report("prints", True, watch.said(), remark=True)
    text = f"not tried: `ebbench run --task {shown(plugin.folder)} --model MODEL --budget smoke` does it"
    yield Report("score", True, text, remark=True)


def _protocol(plugin: loader.Plugin, protocol: str, watch: Watch) -> str:
    cls = plugin.cls
    where = f"{plugin.folder.name}/task.py"
    try:
        with watch.over("__init__"):
            task: contract.Task = cls(cls.Options(), protocol, Store(offline=True))
    except DataError as error:
        return f"not tried: {error.what}"
    for name in ("source", "data_hashes"):
        if not hasattr(task, name):
            raise ContractError(
                f"__init__() does not set '{name}'",
                where=f"{where}, __init__()",
                expected="source: which data were found; data_hashes: the SHA-256 of each file by name",
            )
    with watch.over("spec"):
        data_spec = task.spec()
    if not isinstance(data_spec, contract.DataSpec):
        raise ContractError(
            f"spec() returned a {type(data_spec).__name__}", where=f"{where}, spec()", expected="a DataSpec"
        )
    keys: list[Any] = []
    for _ in range(2):
        with watch.over("data_key"):
            keys.append(task.data_key())
    _check_key(keys, f"{where}, data_key()")
    with watch.over("parts"):
        parts = task.parts(0)
    return f"shape {data_spec.shape}" + (f", {len(parts)} parts" if len(parts) > 1 else "")


def _check_key(keys: list[Any], where: str) -> None:
    expected = "the same JSON values each time, because they are part of a run's identity"
    try:
        texts = [json.dumps(key, sort_keys=True, allow_nan=False) for key in keys]
    except (TypeError, ValueError) as error:
        raise ContractError(
            f"data_key() returned a value that JSON cannot hold: {error}", where=where, expected=expected
        ) from error
    if texts[0] != texts[1]:
        raise ContractError("data_key() returns a different key each time", where=where, expected=expected)
