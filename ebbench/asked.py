"""What was asked for, of the command line or in a notebook, checked and settled."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebbench.errors import UsageError
from ebbench.storage.files import absolute

if TYPE_CHECKING:
    from ebbench.running.loggers import Factory
    from ebbench.running.settings import Settings
    from ebbench.running.spec import Spec


def prepared(
    task: str | os.PathLike[str],
    model: str | os.PathLike[str],
    *,
    budget: str = "cpu",
    protocol: str = "",
    sampler: str = "",
    seeds: int | str | Iterable[int | str] = 0,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    data_dir: str | os.PathLike[str] | None = None,
    results: str | os.PathLike[str] = "results",
    force: bool = False,
    threads: int | None = None,
    time_limit: float | str | None = None,
    quiet: bool = True,
    logger: Factory | str | None = None,
    isolated: bool = False,
    unboxed: bool = False,
    wait: bool = True,
) -> tuple[Spec, list[int], Settings]:
    """The spec, the seeds and the settings of a call of `ebbench.run`, whose words these are.

    Without `wait`, a run leaves where another process is at the same training. Raises UsageError, and
    PluginError where a plug-in cannot be loaded.
    """
    from ebbench import threads as cores
    from ebbench.running import progress, words

    words.check_types(task=task, model=model, budget=budget, protocol=protocol, sampler=sampler)
    words.check_types(settings=settings, device=device, results=results, threads=threads)

    run_seeds = words.parse_seeds(seed_texts(seeds))
    seconds = None if time_limit is None else words.parse_duration(str(time_limit))
    chosen = words.checked_settings((settings or {}).items(), "settings")
    folder = absolute(os.fspath(results), "results")
    reporter = progress.reporter(quiet)
    # Before torch is loaded.
    settled = None if threads is None else cores.settle(threads)

    from ebbench.data.store import Store
    from ebbench.device import choose_device
    from ebbench.running import loggers, spec
    from ebbench.running.request import Request
    from ebbench.running.settings import Settings

    request = Request(
        task=os.fspath(task),
        model=os.fspath(model),
        budget=budget,
        protocol=protocol,
        sampler=sampler,
        set=chosen,
    )
    apart = None
    if isolated:
        from ebbench.apart.processes import processes

        apart = processes(reporter, unboxed=unboxed)
    elif unboxed:
        raise UsageError("--unboxed needs --isolated", where="--unboxed", fix="give both, or leave it out")
    made = Settings(
        device=choose_device(device),
        results=folder,
        apart=apart,
        store=Store(None if data_dir is None else Path(data_dir)),
        force=force,
        time_limit=seconds,
        wait=wait,
        reporter=reporter,
        logger=loggers.named(logger) if isinstance(logger, str) else logger,
    )
    resolved = spec.resolve(request) if apart is None else spec.resolve(request, apart.load)
    if settled is not None:
        reporter.note(settled)
    return resolved, run_seeds, made


def seed_texts(seeds: Any) -> list[str]:
    """Seeds as words of the command line: a text, a whole number of any kind, or several of these.

    Raises UsageError for anything else.
    """
    if isinstance(seeds, str | bool):
        return [str(seeds)]
    try:
        return [str(operator.index(seeds))]
    except TypeError:
        pass
    if not isinstance(seeds, Iterable):
        raise UsageError(
            f"seeds cannot be {seeds!r}", where="seeds", expected='a number, a text such as "0-4", or a list'
        )
    return [str(seed) for seed in seeds]
