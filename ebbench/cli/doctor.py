"""`ebbench doctor`: what this machine has, and what each task still needs."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ebbench.data.store import Store

# The state of a finding: "fail" ends in exit code 1, "warn" only narrows what can be run.
OK, WARN, FAIL = "ok", "warn", "fail"

Finding = dict[str, str]

# The default folder of results. It need not exist yet.
DEFAULT = Path("results")


def doctor(
    data_dir: Annotated[Path | None, typer.Option(help="Look for data in this folder only.")] = None,
    results: Annotated[Path, typer.Option(help="The folder with the results.")] = DEFAULT,
    rows: Annotated[
        bool, typer.Option("--rows", help="Say for each row whether this checkout would make it again.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the device, the packages, the data sets, what each task needs, and the results that are here.

    Nothing is downloaded.

    The exit code is 1 if something is broken: a package, torch, the run store, or a data file.
    """
    from ebbench.errors import EbbenchError

    findings = [*_packages(), *_device(), *_folders()]
    try:
        from ebbench.data.store import Store

        store = Store(data_dir, offline=True)
    except EbbenchError as error:
        findings.append(_finding("data", "folder", FAIL, _line(error)))
    else:
        findings += [*_data(store), *_tasks(store)]
    findings += _results(results, rows)
    broken = any(finding["state"] == FAIL for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": not broken, "findings": findings}, indent=2, ensure_ascii=False))
    else:
        _show(findings)
        typer.echo("something is broken: see `fail` above" if broken else "ready to run")
    if broken:
        raise typer.Exit(1)


def _finding(part: str, name: str, state: str, text: str) -> Finding:
    return {"part": part, "name": name, "state": state, "text": text}


def _packages() -> Iterator[Finding]:
    """Compare the declared dependencies with the installed packages. Nothing is imported."""
    import importlib.metadata
    import platform

    from packaging.requirements import Requirement

    import ebbench

    yield _finding("package", "python", OK, platform.python_version())
    try:
        needed = importlib.metadata.requires("ebbench") or []
    except importlib.metadata.PackageNotFoundError:
        text = f"{ebbench.__version__}, not installed, so its requirements are unknown: run `make setup`"
        yield _finding("package", "ebbench", WARN, text)
        return
    yield _finding("package", "ebbench", OK, ebbench.__version__)
    for requirement in map(Requirement, needed):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        want = f"needs {requirement.specifier}" if requirement.specifier else "any version"
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield _finding("package", requirement.name, FAIL, f"missing; {want}")
            continue
        good = requirement.specifier.contains(version, prereleases=True)
        yield _finding("package", requirement.name, OK if good else FAIL, f"{version}; {want}")


def _device() -> Iterator[Finding]:
    import os

    from ebbench import device

    cores = device.physical_cores()
    shown = f"{cores} physical, " if cores else ""
    text = f"{device.cpu_model()}, {shown}{os.cpu_count()} logical cores"
    yield _finding("device", "cpu", OK, text)
    try:
        import torch

        torch.zeros(1).add_(1)
    except Exception as error:  # a broken install fails in many ways (OSError: a missing library)
        yield _finding("device", "torch", FAIL, f"{type(error).__name__}: {error}")
        return
    yield _finding("device", "threads", OK, f"torch uses {torch.get_num_threads()}")
    if not torch.cuda.is_available():
        yield _finding("device", "gpu", OK, "none that torch can use: runs go to the CPU")
        return
    for index in range(torch.cuda.device_count()):
        name = f"cuda:{index}"
        try:
            properties = torch.cuda.get_device_properties(index)
            torch.zeros(1, device=name).add_(1)
        except RuntimeError as error:
            yield _finding("device", name, WARN, f"cannot be used: {str(error).splitlines()[0]}")
            continue
        memory = properties.total_memory / 2**30
        text = f"{properties.name}, {memory:.0f} GiB, CUDA {torch.version.cuda}"
        yield _finding("device", name, OK, text)


def _folders() -> Iterator[Finding]:
    """The run store, which holds checkpoints and trained states."""
    import shutil
    import tempfile

    from ebbench.storage.files import home

    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        text = f"{folder} cannot be written: {error.strerror or error}; set EBBENCH_HOME to a folder that can"
        yield _finding("folder", "run store", FAIL, text)
        return
    state = OK if free >= 1 else WARN
    yield _finding("folder", "run store", state, f"{folder}, {free:,.1f} GB free")


def _data(store: Store) -> Iterator[Finding]:
    from ebbench.data.registry import DATASETS
    from ebbench.errors import EbbenchError

    for name in DATASETS:
        try:
            files = store.survey(name)
        except EbbenchError as error:
            yield _finding("data", name, FAIL, _line(error))
            continue
        bad = [file for file in files if file.state == "bad"]
        missing = [file.file for file in files if file.state == "missing"]
        if bad:
            text = "; ".join(f"{file.path}: {file.found}" for file in bad)
            yield _finding("data", name, FAIL, f"cut short or altered: {text}; remove it")
        elif missing:
            fix = f"`ebbench data fetch {name}` or `ebbench data import PATH`"
            yield _finding("data", name, WARN, f"{len(missing)} of {len(files)} files missing; {fix}")
        else:
            places = ", ".join(sorted({file.place for file in files}))
            yield _finding("data", name, OK, f"{len(files)} files, verified, from {places}")


def _tasks(store: Store) -> Iterator[Finding]:
    """What each task would run on now, according to the task itself with its default options."""
    from ebbench.errors import EbbenchError
    from ebbench.plugins import loader

    for name in loader.names("task"):
        try:
            cls = loader.load("task", name).cls
            # A task may print remarks about its data. They go on the task's own line.
            with contextlib.redirect_stderr(io.StringIO()) as said:
                task = cls(cls.Options(), next(iter(cls.protocols)), store)
        except EbbenchError as error:
            yield _finding("task", name, WARN, f"cannot be run: {_line(error)}")
        except Exception as error:  # a plug-in's own code: it may raise anything
            yield _finding("task", name, WARN, f"raised {type(error).__name__}: {error}")
        else:
            text = f"would run on source={task.source}; needs a model that can '{cls.needs}'"
            yield _finding("task", name, OK, "; ".join([text, *said.getvalue().splitlines()]))


def _results(folder: Path, each: bool) -> Iterator[Finding]:
    """Whether this checkout would make the same results: one line per task; with `each`, one per row too."""
    from collections import Counter

    from ebbench.board import labels, table
    from ebbench.board.currency import Today
    from ebbench.record import resultfiles

    if not folder.is_dir():
        if folder.exists():
            yield _finding("results", str(folder), FAIL, "not a folder; give another by `--results`")
        elif folder != DEFAULT:
            yield _finding(
                "results", str(folder), WARN, "no such folder, so no result was read; see `--results`"
            )
        return
    here, problems = resultfiles.load_all(folder)
    for problem in problems:
        yield _finding("results", str(problem.path.relative_to(folder)), WARN, problem.reason)
    today = Today()
    for task in sorted({made.task.name for made in here}):
        rows = table.rows(here, task, today=today)
        states = Counter(row.code for row in rows)
        text = ", ".join(
            f"{states[state]} {state}" for state in ("current", "older code", "not here") if states[state]
        )
        stale = len(rows) - states["current"]
        yield _finding("results", task, WARN if stale else OK, f"{len(rows)} rows: {text}")
        for row in rows if each else ():
            name = f"{labels.label(row)}, {row.budget}, {row.protocol}"
            reason = next((note for note in row.notes if note.startswith(f"{row.code}: ")), row.code)
            state = OK if row.code == "current" else WARN
            yield _finding("results", f"  {name}", state, reason)


def _line(error: Exception) -> str:
    """An error on one line."""
    return "; ".join(part.strip() for part in str(error).splitlines())


def _show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    colours = {OK: "green", WARN: "yellow", FAIL: "red"}
    part = ""
    for finding in findings:
        if finding["part"] != part:
            part = finding["part"]
            console.print(Text(part), style="bold")
        line = Text(f"  {finding['state']:<5}", style=colours[finding["state"]])
        line.append(f"{finding['name']:<16} {finding['text']}", style="default")
        console.print(line, soft_wrap=True)
