"""`ebbench score`: score a finished run in another way, or samples that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ebbench.cli.outcome import print_metrics, print_outcome

if TYPE_CHECKING:
    from ebbench.record.schema import Result


def score(
    run: Annotated[str, typer.Argument(help="A result file or a run id; leave out with --samples.")] = "",
    samples: Annotated[
        Path | None, typer.Option(help="Samples or scores made elsewhere, an npz file; needs --task.")
    ] = None,
    task: Annotated[str, typer.Option(help="With --samples: the task that scores them.")] = "",
    features: Annotated[
        str, typer.Option(help="The net that gives the features; the same as --set features=NAME.")
    ] = "",
    protocol: Annotated[str, typer.Option(help="Another of the task's protocols.")] = "",
    sampler: Annotated[str, typer.Option(help="Another of the model's samplers.")] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A task option, or SAMPLER.KNOB."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="The folder of the run's model, if its name is not enough.")
    ] = "",
    seed: Annotated[int, typer.Option(help="With --samples: the seed of the task's random split.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    data_dir: Annotated[Path | None, typer.Option(help="Where the data sets lie.")] = None,
    results: Annotated[Path, typer.Option(help="Where results are, and are written.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="With --samples: print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Score a finished run with another protocol, sampler or option; its training must be in the run store.

    If neither the sampler nor its knobs change, stored samples are used again. With --samples and --task no
    run is needed: the metrics are printed and nothing is written.
    """
    from ebbench.errors import UsageError
    from ebbench.running import progress
    from ebbench.running.words import parse_settings

    changed = parse_settings(set_ or []) | ({"features": features} if features else {})
    reporter = progress.reporter(quiet)
    if samples is not None and task and not (run or model or sampler):
        _score_samples(samples, task, protocol, changed, seed, data_dir, reporter, as_json)
        return
    if not run or samples is not None or task or as_json:
        raise UsageError(
            "it is not clear what is to be scored",
            expected="a RUN, or --samples and --task",
            fix="`ebbench score --help` shows both",
        )
    _score_run(run, model, sampler, protocol, changed, device, data_dir, results, reporter)


def _score_samples(
    samples: Path,
    task: str,
    protocol: str,
    options: dict[str, Any],
    seed: int,
    data_dir: Path | None,
    reporter: Any,
    as_json: bool,
) -> None:
    import json

    from ebbench.data.store import Store
    from ebbench.submissions.external import score_file

    plugin, asked, made = score_file(
        samples,
        task=task,
        protocol=protocol,
        options=options,
        seed=seed,
        store=Store(data_dir),
        where="--set",
        reporter=reporter,
    )
    for name in made.unused:
        typer.echo(f"not used: the array '{name}'", err=True)
    metrics = {name: float(value) for name, value in made.score.metrics.items()}
    if as_json:
        document = {
            "task": plugin.name,
            "protocol": asked.protocol,
            "source": asked.source,
            "metrics": metrics,
        }
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    typer.echo(f"{samples.name} on {plugin.name}, protocol {asked.protocol}  [source={asked.source}]")
    print_metrics(metrics, plugin.cls.metrics)


def _score_run(
    run: str,
    model: str,
    sampler: str,
    protocol: str,
    changed: dict[str, Any],
    device: str,
    data_dir: Path | None,
    results: Path,
    reporter: Any,
) -> None:
    import dataclasses

    from ebbench.data.store import Store
    from ebbench.device import choose_device
    from ebbench.record.resultfiles import find
    from ebbench.running import engine, spec
    from ebbench.running.request import request_of
    from ebbench.running.settings import Settings

    made = find(run, results)
    request = request_of(made, sampler=sampler, protocol=protocol, model=model or _place_of(made))
    settings = Settings(
        device=choose_device(device),
        results=results,
        store=Store(data_dir),
        trainings=made.trainings,
        reporter=reporter,
    )
    resolved = spec.resolve(dataclasses.replace(request, set=dict(request.set) | changed))
    _check_code(made, resolved, run)
    for outcome in engine.run(resolved, [made.seed], settings):
        print_outcome(outcome, resolved.task.cls.metrics)


def _place_of(made: Result) -> str:
    """The name of the run's model. Raises UsageError if no model of this name is found."""
    from ebbench.errors import UsageError
    from ebbench.plugins import loader

    if made.model.name not in loader.names("model"):
        raise UsageError(
            f"model '{made.model.name}' made this run, but no model of that name is known here",
            where=made.run_id,
            expected="the folder of the model",
            fix="give the folder: --model ./FOLDER",
        )
    return made.model.name


def _check_code(made: Result, resolved: Any, run: str) -> None:
    """Raise UsageError if the model is another one, or if its code has changed since the run."""
    from ebbench.errors import UsageError

    if resolved.model.name != made.model.name:
        raise UsageError(
            f"the folder holds '{resolved.model.name}', but the run is of '{made.model.name}'",
            where="--model",
            expected=f"the folder of '{made.model.name}'",
        )
    if resolved.model.code_hash != made.model.code_hash:
        git = (made.training.provenance or made.provenance).git
        raise UsageError(
            f"the code of {made.model.name} has changed since {made.run_id} was made",
            where=run,
            expected=f"code {made.model.code_hash[:10]}; here is {resolved.model.code_hash[:10]}",
            fix=f"score it at {'commit ' + git.commit[:10] if git else 'the commit of that code'}, "
            f"or train again by today's code: `{resolved.command(made.seed)}`",
        )
