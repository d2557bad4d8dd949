"""`ebbench score`: score a finished run in another way, without training it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbench.cli.outcome import print_outcome


def score(
    run: Annotated[str, typer.Argument(help="A result file, or a run id.")],
    features: Annotated[
        str, typer.Option(help="The net whose features are compared: the same as --set features=NAME.")
    ] = "",
    protocol: Annotated[str, typer.Option(help="Another of the task's protocols.")] = "",
    sampler: Annotated[str, typer.Option(help="Another of the model's samplers.")] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A task option, or SAMPLER.KNOB."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    data_dir: Annotated[Path | None, typer.Option(help="Where the data sets lie.")] = None,
    results: Annotated[Path, typer.Option(help="Where results are, and are written.")] = Path("results"),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Score a finished run by another protocol, sampler or option; its training must be in the run store.

    Samples that were kept are taken again where neither sampler nor knobs change.
    """
    import dataclasses

    from ebbench.data.store import Store
    from ebbench.device import choose_device
    from ebbench.errors import UsageError
    from ebbench.record.resultfiles import find
    from ebbench.running import engine, progress, spec, words
    from ebbench.running.request import request_of
    from ebbench.running.settings import Settings

    made = find(run, results)
    request = request_of(made, sampler=sampler, protocol=protocol)
    changed = words.parse_settings(set_ or []) | ({"features": features} if features else {})
    settings = Settings(
        device=choose_device(device),
        results=results,
        store=Store(data_dir),
        trainings=made.trainings,
        reporter=progress.reporter(quiet),
    )
    resolved = spec.resolve(dataclasses.replace(request, set=dict(request.set) | changed))
    if resolved.model.code_hash != made.model.code_hash:
        git = (made.training.provenance or made.provenance).git
        raise UsageError(
            f"the code of {made.model.name} has changed since {made.run_id} was made",
            where=run,
            expected=f"code {made.model.code_hash[:10]}; here is {resolved.model.code_hash[:10]}",
            fix=f"score it at {'commit ' + git.commit[:10] if git else 'the commit of that code'}, "
            f"or train by the code of today: `{resolved.command(made.seed)}`",
        )
    for outcome in engine.run(resolved, [made.seed], settings):
        print_outcome(outcome, resolved.task.cls.metrics)
