"""`ebbench show`: print all facts about one task, one model or one result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ebbench.board.names import Names
    from ebbench.plugins.loader import Plugin
    from ebbench.record.schema import Result


def show(
    name: Annotated[
        str, typer.Argument(help="A task or a model (name or folder), a result file, or a run id.")
    ] = "",
    results: Annotated[Path, typer.Option(help="The folder with the results.")] = Path("results"),
) -> None:
    """Show a task, a model with its knobs and budgets, or a result."""
    from ebbench.board import names
    from ebbench.errors import MOST_NAMED, UsageError, shown, unknown
    from ebbench.plugins import loader
    from ebbench.record.resultfiles import load_all, read
    from ebbench.running.words import split_variant

    if name.endswith(".json"):
        _result(read(name), names.read(results))
        return
    done = False
    for kind in loader.MODULES:
        if loader.is_here(kind, name):
            plugin = loader.load(kind, name)
            (_task if kind == "task" else _model)(plugin)
            done = True
    if done:
        return
    head, _, variant = split_variant(name)
    if variant and loader.is_here("model", head):
        plugin = loader.load("model", head)
        if variant not in plugin.card.variants:
            raise unknown("variant", variant[:200], plugin.card.variants, where=f"model '{plugin.name}'")
        _model(plugin)
        return
    found, _ = load_all(results)
    for result in found:
        if result.run_id == name:
            _result(result, names.read(results))
            return
    tasks, models, ids = loader.names("task"), loader.names("model"), [result.run_id for result in found]
    said = unknown("task, model or result", name[:200], [*tasks, *models, *ids])
    # A list of all run ids would hide the names of tasks and models.
    raise UsageError(
        said.what if name else "there is nothing to show: no name was given",
        expected=f"a task ({', '.join(tasks[:MOST_NAMED])}), a model ({', '.join(models[:MOST_NAMED])}), "
        f"a result file, or the run id of a result in {shown(results)} ({len(ids):,} are there)",
        fix=" ".join(filter(None, [said.fix, "`ebbench list` says what each task and model is"])),
    )


def _task(plugin: Plugin) -> None:
    cls = plugin.cls
    _card("task", plugin)
    _pairs({"version": cls.version, "needs": cls.needs})
    _section("protocols (the first is the default)", cls.protocols)
    _fields("options", cls.Options)
    metrics = {}
    for metric in cls.metrics:
        better = "" if metric.better == "neither" else f"{metric.better} is better"
        traits = ", ".join(filter(None, [metric.unit, better, "primary" if metric.primary else ""]))
        metrics[metric.name] = f"{metric.doc} ({traits})" if traits else metric.doc
    _section("metrics", metrics)
    if cls.published:
        typer.echo("\npublished")
    for row in cls.published:
        numbers = ", ".join(
            f"{metric} {value:g}" + ("" if error is None else f" ± {error:g}")
            for metric, (value, error) in row.metrics.items()
        )
        options = f"{row.protocol} {_settings(row.options)}".strip()
        typer.echo(f"  {row.label}{f' [{options}]' if options else ''}: {numbers}")
        typer.echo(f"      {row.confidence}: {row.source}")


def _model(plugin: Plugin) -> None:
    from ebbench.plugins import introspection
    from ebbench.plugins.configs import plain_value
    from ebbench.plugins.introspection import knobs

    cls, card = plugin.cls, plugin.card
    _card("model", plugin)
    _pairs(
        {
            "kind": card.kind,
            "families": card.families,
            "measured on": card.measured_on,
            "capabilities": introspection.capabilities(cls),
            "scores": introspection.scores(cls),
        }
    )
    samplers = introspection.samplers(cls)
    _section(
        "samplers (--sampler; knobs are set as SAMPLER.KNOB)",
        {
            name: _settings({knob: plain_value(default) for knob, default in knobs(method).items()})
            for name, method in samplers.items()
        },
    )
    _fields("knobs (--set)", cls.Config)
    budgets = {
        f"{budget}, {task}{of}": _settings(_flat(values))
        for of, own in [("", card.budgets), *((f", :{n}", v.budgets) for n, v in card.variants.items())]
        for budget, tables in own.items()
        for task, values in tables.items()
    }
    _section("budgets (what each sets, by task; minutes are what it took)", budgets)
    _section(
        f"variants (--model {plugin.name}:VARIANT)",
        {
            name: f"{variant.summary} {f'({_settings(variant.set)})' if variant.set else ''}".strip()
            for name, variant in card.variants.items()
        },
    )


def _result(result: Result, decided: Names) -> None:
    from ebbench.board.labels import command
    from ebbench.board.tiers import tier_of
    from ebbench.plugins import loader

    task, model, training, scoring = result.task, result.model, result.training, result.scoring
    variant = f"{model.name}:{model.variant}" if model.variant else model.name
    typer.echo(f"result {result.run_id}")
    _pairs(
        {
            "task": f"{task.name} v{task.version}, protocol {task.protocol}, source={task.source}",
            "options": _settings(task.options),
            "model": f"{variant} ({model.kind})",
            "overrides": _settings(result.overrides),
            "sampler": result.sampler.name if result.sampler else "",
            "score": result.score,
            "budget": result.budget,
            "seed": result.seed,
            "created": result.created,
            "tier": tier_of(result, decided)[0],
        }
    )
    _section("metrics", {name: f"{value:.6g}" for name, value in sorted(result.metrics.items())})
    for part in result.parts:
        _section(f"part {part.name}", {name: f"{value:.6g}" for name, value in sorted(part.metrics.items())})
    # What is longer (a KL's shares, every score of a task) is in the file.
    said = {
        n: _value(v) for n, v in sorted(result.details.items()) if isinstance(v, str | int | float | bool)
    }
    _section("details", said)
    rate = f", {training.steps_per_second:g} steps/s" if training.steps_per_second else ""
    gpu = (training.provenance or result.provenance).gpu
    rate += ", on a GPU that others used too" if gpu and gpu.shared else ""
    drawn = f", {scoring.samples:,} samples" if scoring.samples else ""
    drawn += f", {scoring.samples_per_second:g} a second" if scoring.samples_per_second else ""
    base = training.base
    _section(
        "cost",
        {
            "training": f"{training.steps:,} steps in {training.seconds:,.1f} s{rate}, "
            f"stopped by {training.stopped_by}, {training.parameters:,} parameters",
            "scoring": f"{scoring.seconds:,.1f} s{drawn}",
        }
        | ({"built on": f"{base.name}, {base.steps:,} steps in {base.seconds:,.1f} s"} if base else {}),
    )
    _section("config", {name: _value(value) for name, value in sorted(result.config.items())})
    if result.sampler:
        _section("sampler's knobs", {n: _value(v) for n, v in sorted(result.sampler.knobs.items())})
        _section("of its draws", {n: f"{v:.4g}" for n, v in sorted(scoring.diagnostics.items())})
    _section("pictures", result.pictures)
    found = result.provenance
    git = found.git
    plugins: list[tuple[loader.Kind, str]] = [("task", task.name), ("model", model.name)]
    own = [name for kind, name in plugins if name not in loader.names(kind)]
    _section(
        "provenance",
        {
            "command": command(result) or "none: its samples or scores were made elsewhere",
            **(
                {"start it": f"in the folder that holds {' and '.join(own)}"}
                if own and command(result)
                else {}
            ),
            "ebbench": found.ebbench + (f" @ {git.commit}{' (changed)' * git.dirty}" if git else ""),
            "packages": _settings(found.packages),
            "python": f"{found.python} on {found.platform}",
            "cpu": f"{found.cpu.model}, {found.cpu.threads} threads",
            "gpu": f"{found.gpu.name}, {found.gpu.peak_memory / 2**30:.1f} GiB at most" if found.gpu else "",
            "data": _settings({name: digest[:12] for name, digest in found.data_hashes.items()}),
        },
    )


def _card(kind: str, plugin: Plugin) -> None:
    card = plugin.card
    typer.echo(f"{kind} {plugin.name}: {card.title}")
    if card.summary:
        typer.echo(f"  {card.summary}")
    paper = ", ".join(str(part) for part in (card.authors, card.year) if part)
    title = f"{card.paper} ({paper})" if paper and card.paper else card.paper or paper
    _pairs({"paper": title, "url": card.url, "folder": plugin.folder, "files": card.files})


def _fields(title: str, config: type[Any]) -> None:
    """The fields of a frozen dataclass: name, default, and the string under each."""
    import dataclasses

    from ebbench.plugins.configs import plain
    from ebbench.plugins.introspection import field_docs

    fields = dataclasses.fields(config)
    if fields:
        typer.echo(f"\n{title}")
    documented, defaults = field_docs(config), plain(config())
    for field in fields:
        typer.echo(f"  {field.name}: {_type(field.type)} = {_value(defaults[field.name])}")
        if field.name in documented:
            typer.echo(f"      {documented[field.name]}")


def _type(annotation: Any) -> str:
    # Text where the plug-in postpones annotations, else the type itself.
    if isinstance(annotation, type):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _pairs(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        text = ", ".join(value) if isinstance(value, Iterable) and not isinstance(value, str) else str(value)
        if text:
            typer.echo(f"  {name + ':':<14}{text}")


def _section(title: str, values: Mapping[str, str]) -> None:
    if not values:
        return
    typer.echo(f"\n{title}")
    width = max(len(name) for name in values) + 2
    for name, value in values.items():
        typer.echo(f"  {name:<{width}}{value}".rstrip())


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """With a sampler's knobs as --set takes them: SAMPLER.KNOB."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _settings(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
