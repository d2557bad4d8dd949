"""`ebbench submit`: pack results, and the arrays behind their metrics, into one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from ebbench.data.store import Store
    from ebbench.plugins.loader import Plugin
    from ebbench.record.schema import Result
    from ebbench.running.progress import Reporter


def submit(
    model: Annotated[
        Path | None, typer.Argument(help="The model's folder; leave out with --samples.")
    ] = None,
    runs: Annotated[
        list[str] | None, typer.Option(help="A run id or a result file; default: all of the model's.")
    ] = None,
    samples: Annotated[
        list[Path] | None,
        typer.Option(help="Samples made elsewhere, an npz file; give it once for each seed, from 0 on."),
    ] = None,
    card: Annotated[Path | None, typer.Option(help="The card of the model that made --samples.")] = None,
    task: Annotated[
        str, typer.Option(help="The task of --samples; or the folder of your own task, which is packed too.")
    ] = "",
    protocol: Annotated[
        str, typer.Option(help="With --samples: the protocol; default: the task's first.")
    ] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="With --samples: a task option.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The bundle; default NAME.zip.")] = None,
    results: Annotated[Path, typer.Option(help="The folder with the results.")] = Path("results"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    data_dir: Annotated[Path | None, typer.Option(help="Where the data sets lie.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Pack results, and the arrays that their metrics are computed from, into a bundle for the board.

    With a model's folder, it packs the model's finished runs with their arrays from the run store. If the
    arrays are gone, it scores the stored training again and says so. For a model in another framework, give
    --task, --samples and --card. The metrics of the bundle are those of its arrays (images as bytes, scores
    in single precision), so anybody can compute them again without your code. Your own task is packed as
    text; it is found by its name in the current folder, or at --task. If a maintainer does not read it, its
    results stay claimed.
    """
    import tempfile

    from ebbench.board import names
    from ebbench.data.store import Store
    from ebbench.device import choose_device
    from ebbench.errors import UsageError
    from ebbench.plugins import loader
    from ebbench.record.resultfiles import load_all
    from ebbench.running import progress
    from ebbench.submissions import bundles, checking, tasks, verification
    from ebbench.submissions import runs as take

    store = Store(data_dir)
    reporter = progress.reporter(quiet)
    if out is not None:
        # Before anything is drawn and scored.
        bundles.check_place(out, folder=model, results=results)
    own: loader.Plugin | None = None
    if model is not None and samples is None and card is None:
        plugin = loader.load("model", str(model))
        chosen = take.chosen(plugin, runs or [], results)
        own = tasks.to_pack(chosen, task)
        # Before anything is scored.
        task_files = tasks.pack(own) if own else {}
        with _lent(own):
            gathered = take.taken(
                plugin, str(model), chosen, device=choose_device(device), store=store, reporter=reporter
            )
        folder, text = plugin.folder, (plugin.folder / "card.toml").read_bytes()
        made, arrays = gathered.results, gathered.arrays
    elif model is None and samples and card and task and not runs:
        folder, gathered, task_files = None, take.Taken(), {}
        text, made, arrays = _of_samples(samples, card, task, protocol, set_ or [], store, reporter)
    else:
        raise UsageError(
            "it is not clear what is to be submitted",
            expected="a model's folder, or --task, --samples and --card",
            fix="`ebbench submit --help` shows both",
        )
    name = bundles.read_card(text, "card.toml").name
    path = out or Path(f"{name}.zip")
    bundles.check_place(path, folder=folder, results=results)
    with tempfile.TemporaryDirectory() as scratch:
        # The maintainers will run the same check first. A bundle that fails it here is not kept.
        trial = Path(scratch) / path.name
        bundles.write(trial, folder=folder, card=text, results=made, arrays=arrays, task=task_files)
        if folder is None:
            # No code of the author's was run here.
            others = [one for one in load_all(results)[0] if one.model.name != name]
            found, _ = verification.recompute(
                bundles.read(trial), others, store, reporter, names=names.read(results), same_author=True
            )
            checking.first_bad(found)
            checks = len(found)
        else:
            checks = _verified(trial, Path(scratch) / "board", results, name, data_dir, bool(own))
        bundles.write(path, folder=folder, card=text, results=made, arrays=arrays, task=task_files)
    size = path.stat().st_size / 1e6
    typer.echo(f"{path}: {len(made)} results, {size:,.1f} MB, {checks} checks passed here")
    if folder is not None:
        kept = len(made) - len(gathered.again)
        typer.echo(f"{kept} taken as they were scored, {len(gathered.again)} scored again")
    if own is not None:
        typer.echo(f"The bundle includes task '{own.name}'; its results have no rank until a board has it.")
    typer.echo("Next: add it to a pull request; a maintainer runs `ebbench verify` on it. A draft:")
    typer.echo("")
    with _lent(own):
        for line in _pull_request(bundles.read_card(text, "card.toml").title, made.values()):
            typer.echo(f"    {line}")


def _lent(own: Plugin | None) -> AbstractContextManager[None]:
    """A context in which the author's own task can be loaded by its name."""
    from contextlib import nullcontext

    from ebbench.plugins import loader

    return nullcontext() if own is None else loader.lent(own)


def _verified(
    bundle: Path, board: Path, results: Path, name: str, data_dir: Path | None, own_task: bool
) -> int:
    """The number of checks that a bundle passes beside the results of others. Raises BundleError.

    Another process makes them, because the model's code has run in this one and may have changed anything.
    """
    import re
    import shutil
    import sys

    from ebbench.errors import BundleError
    from ebbench.record.resultfiles import load_files

    board.mkdir()
    for number, (path, one) in enumerate(load_files(results)[0].items()):
        if one.model.name != name:
            shutil.copyfile(path, board / f"{number}.json")
    command = [sys.executable, "-P", "-m", "ebbench.cli.main", "verify", str(bundle), "--dry"]
    command += ["--results", str(board), "--same-author"]
    command += ["--trust-task"] if own_task else []
    command += ["--data-dir", str(data_dir)] if data_dir is not None else []
    done = _apart(command)
    found = re.search(r"^([0-9]+) checks, all good", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None:
        # The text before the error is progress.
        said = done.stderr.strip().rpartition("error: ")[2]
        raise BundleError(f"the bundle does not verify: {said}", where=bundle.name)
    return int(found[1])


def _apart(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in another process."""
    import subprocess

    return subprocess.run(command, capture_output=True, text=True, errors="replace")


def _of_samples(
    samples: list[Path],
    card: Path,
    task: str,
    protocol: str,
    settings: list[str],
    store: Store,
    reporter: Reporter,
) -> tuple[bytes, dict[str, Result], dict[str, Any]]:
    """The card, and one result for each file of samples."""
    from ebbench.errors import StorageError
    from ebbench.running import words
    from ebbench.submissions import external

    try:
        text = card.read_bytes()
    except OSError as error:
        raise StorageError(
            f"the card cannot be read: {error.strerror or error}", where=str(card), expected="a card.toml"
        ) from error
    made: dict[str, Result] = {}
    arrays = {}
    for seed, path in enumerate(samples):
        found = external.read_arrays(path)
        claimed = external.claim(
            text,
            found,
            task=task,
            protocol=protocol,
            options=words.parse_settings(settings),
            seed=seed,
            store=store,
            where=path.name,
            reporter=reporter,
        )
        made[claimed.run_id], arrays[claimed.run_id] = claimed, found
    return text, made, arrays


def _pull_request(title: str, results: Iterable[Result]) -> list[str]:
    """The text of a pull request, one line per result."""
    from ebbench.plugins import loader

    lines = [f"Submission: {title}", ""]
    for made in results:
        declared = loader.load("task", made.task.name).cls.metrics
        primary = [m.name for m in declared if m.primary and m.name in made.metrics]
        shown = ", ".join(f"{name} {made.metrics[name]:.6g}" for name in primary)
        lines.append(f"- {made.task.name}, {made.budget}, seed {made.seed}: {shown}")
    return [*lines, "", "Made with `ebbench submit`; the bundle verifies with `ebbench verify`."]
