"""`ebbench submit`: pack results and what their metrics come from into one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def submit(
    model: Annotated[Path, typer.Argument(help="The model's folder.")],
    runs: Annotated[
        list[str] | None, typer.Option(help="A run id or a result file; all of the model's if none is given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The bundle; NAME.zip if not given.")] = None,
    results: Annotated[Path, typer.Option(help="The folder with the results.")] = Path("results"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    data_dir: Annotated[Path | None, typer.Option(help="Where the data sets lie.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Score finished runs once more, keep what the task was given, and pack it for the board.

    The trainings must be in the run store. The metrics of the bundle are those of the arrays in it (images as
    bytes, scores in single precision), so that anybody can compute them again without your code.
    """
    import tempfile

    from ebbench import bundles, loader, progress, runner, spec, verification
    from ebbench.data.store import Store
    from ebbench.errors import UsageError
    from ebbench.result import Result, find, load_all

    plugin = loader.load("model", str(model))
    if runs:
        chosen = [find(run, results) for run in runs]
    else:
        chosen = [made for made in load_all(results)[0] if made.model.name == plugin.name]
    strangers = [made for made in chosen if made.model.name != plugin.name]
    if strangers or not chosen:
        raise UsageError(
            f"{strangers[0].run_id} is a run of {strangers[0].model.name}"
            if strangers
            else f"there are no results of {plugin.name}",
            where=f"--runs, --results {results}",
            expected=f"results of {plugin.name}",
            fix=f"`ebbench run --task TASK --model {model}` makes one",
        )
    store = Store(data_dir)
    made: dict[str, Result] = {}
    arrays = {}
    with tempfile.TemporaryDirectory() as folder:
        for run in chosen:
            record: dict[str, Any] = {}
            settings = runner.Settings(
                device=runner.choose_device(device),
                results=Path(folder),
                store=store,
                train=False,
                record=record,
                reporter=progress.reporter(quiet),
            )
            request = spec.request_of(run, model=str(model))
            for outcome in runner.run(spec.resolve(request), [run.seed], settings):
                made[outcome.result.run_id] = outcome.result
                arrays[outcome.result.run_id] = record
    path = out or Path(f"{plugin.name}.zip")
    card = (plugin.folder / "card.toml").read_bytes()
    bundles.write(path, folder=plugin.folder, card=card, results=made, arrays=arrays)
    # What the maintainers will do first, done here.
    checks, _ = verification.recompute(bundles.read(path), load_all(results)[0], store)
    verification.first_bad(checks)
    size = path.stat().st_size / 1e6
    typer.echo(f"{path}: {len(made)} results, {size:,.1f} MB, {len(checks)} checks passed here")
    typer.echo("Next: add it to a pull request; a maintainer runs `ebbench verify` on it. To begin with:")
    typer.echo("")
    for line in _pull_request(plugin.card.title, made.values()):
        typer.echo(f"    {line}")


def _pull_request(title, results) -> list[str]:  # type: ignore[no-untyped-def]
    lines = [f"Submission: {title}", ""]
    for result in results:
        primary = ", ".join(f"{name} {value:.6g}" for name, value in sorted(result.metrics.items())[:4])
        lines.append(f"- {result.task.name}, {result.budget}, seed {result.seed}: {primary}")
    return [*lines, "", "Made with `ebbench submit`; the bundle verifies with `ebbench verify`."]
