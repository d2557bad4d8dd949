"""`ebbench verify`: check a submitted bundle and compute its metrics again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ebbench.board.names import Names
    from ebbench.record.schema import Result
    from ebbench.submissions.bundles import Bundle
    from ebbench.submissions.checking import Check


def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle of `ebbench submit`.")],
    results: Annotated[Path, typer.Option(help="The board's results; verified ones are added here.")] = Path(
        "results"
    ),
    data_dir: Annotated[Path | None, typer.Option(help="Where the data sets lie.")] = None,
    same_author: Annotated[
        bool,
        typer.Option(
            "--same-author", help="The name, or one like it, is on the board, from the same author."
        ),
    ] = False,
    rerun: Annotated[
        bool,
        typer.Option(
            "--rerun", help="Train and score here too, in a sandbox. THIS RUNS ITS CODE: read it first."
        ),
    ] = False,
    unboxed: Annotated[
        bool, typer.Option("--unboxed", help="--rerun without the sandbox: the code can do all that you can.")
    ] = False,
    time_limit: Annotated[
        str, typer.Option(help="Time limit of --rerun in all: 90s, 9m, 1.5h; default: none.")
    ] = "",
    key: Annotated[
        Path | None,
        typer.Option(help="A maintainer's key to sign with (or set EBBENCH_KEY)."),
    ] = None,
    trust_task: Annotated[
        bool,
        typer.Option(
            "--trust-task", help="Score with the task in the bundle. THIS RUNS ITS CODE: read it first."
        ),
    ] = False,
    claimed: Annotated[
        bool, typer.Option("--claimed", help="Score nothing; add the results as claimed.")
    ] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Check only; add nothing.")] = False,
) -> None:
    """Check a bundle and compute its metrics again from its arrays; none of its code is run.

    If every check passes, the results go on the board with the tier "recomputed". With --rerun each result is
    also trained and scored again, in its own process, and each row once more under a secret seed. If all
    agree, the tier is "reproduced". Both tiers need a maintainer's signature; without a key the results are
    added as "claimed". A bundle with its own task needs --trust-task, which gives "recomputed" at most, or
    --claimed.
    """
    import tempfile

    from ebbench.board import names
    from ebbench.data.store import Store
    from ebbench.errors import UsageError
    from ebbench.isolation.box import why_not
    from ebbench.pictures import png
    from ebbench.record import resultfiles, signing
    from ebbench.running import progress, words
    from ebbench.storage import runstore
    from ebbench.submissions import bundles, tasks, verification
    from ebbench.submissions.rerun import Rerun
    from ebbench.submissions.rerun import rerun as run_again

    if time_limit and not rerun:
        raise UsageError("--time-limit needs --rerun", where="--time-limit", fix="give both, or leave it out")
    if rerun and not unboxed and (reason := why_not()):
        raise UsageError(
            f"this machine cannot run a bundle's code in a sandbox: {reason}",
            where="--rerun",
            expected="Linux 5.12 or later, and permission to make user namespaces",
            fix="rerun it on another machine, or read all of its code and then give --unboxed",
        )
    seconds = words.parse_duration(time_limit) if time_limit else None
    signer = signing.load(key)
    read, store = bundles.read(bundle), Store(data_dir)
    board = {one.run_id: one for one in resultfiles.load_all(results)[0]}
    reporter = progress.reporter()
    shown = list(board.values())
    if claimed:
        _claimed(read, shown, names.read(results), same_author, results, dry)
        return
    with tasks.usable(read, shown, trusted=trust_task) as own:
        if own and rerun:
            raise UsageError(
                "--rerun does not repeat runs on the bundle's own task, because they have no rank",
                where="--rerun",
                expected="a task that this board has",
                fix="verify without --rerun, or first put the task's folder on EBBENCH_PATH",
            )
        checks, made = verification.recompute(
            read, shown, store, reporter, names=names.read(results), same_author=same_author
        )
    _pass(checks, f": {len(made)} results recomputed from their artefacts")
    repeated: dict[str, Rerun] = {}
    if rerun:
        typer.echo(f"Training and scoring {len(made)} runs of {read.card.name} here ...")
        with tempfile.TemporaryDirectory() as scratch:
            checks, repeated = run_again(read, store, data_dir, Path(scratch), seconds, boxed=not unboxed)
        _pass(checks, f": {len(repeated)} results reproduced")
    if dry:
        return
    _keep(read, results)
    for run_id, (recomputed, pictures, kept) in made.items():
        path = results / recomputed.task.name / recomputed.model.name / f"{run_id}.json"
        if run_id in board and board[run_id].confirmed == "reproduced" and not rerun:
            typer.echo(f"  {path}: stays reproduced")
            continue
        details: dict[str, Any] = {"bundle": read.sha256, **kept, **tasks.details(recomputed, read, own)}
        if rerun:
            # The board shows the numbers made here, and beside them the author's.
            details |= {"claimed": dict(recomputed.metrics), "audit": dict(repeated[run_id].audit)}
            whole, files = repeated[run_id].result, dict(repeated[run_id].pictures)
        else:
            named = {name: f"{run_id}.{name}.png" for name in pictures}
            whole = recomputed.model_copy(update={"pictures": named})
            files = {named[name]: png(pixels) for name, pixels in pictures.items()}
        for name, content in files.items():
            runstore.write(path.with_name(name), content)
        confirmed = verification.verified(whole, "reproduced" if rerun else "recomputed", details)
        resultfiles.write(confirmed.signed(signer) if signer else confirmed, path)
        typer.echo(f"  {path}")
    if signer is None:
        typer.echo("nothing is signed, so these results count as claimed: sign by --key FILE", err=True)


def _claimed(
    bundle: Bundle, board: list[Result], names: Names, same_author: bool, results: Path, dry: bool
) -> None:
    """Check what can be checked without running anything, and add the results as claims."""
    import tempfile

    from ebbench.record import resultfiles
    from ebbench.submissions import tasks, verification

    checks = verification.unscored(bundle, board, names, same_author, own=tasks.named(bundle))
    code = ""
    if tasks.has_own(bundle):
        with tempfile.TemporaryDirectory() as scratch:
            plugin = tasks.unpacked(bundle, Path(scratch))
            checks += tasks.checks(bundle, plugin, board)
            code = plugin.code_hash
    _pass(checks, f"; no metric was computed: {len(bundle.results)} claims")
    if dry:
        return
    _keep(bundle, results)
    there = {made.run_id for made in board}
    for run_id, made in bundle.results.items():
        path = results / made.task.name / made.model.name / f"{run_id}.json"
        if run_id in there:
            typer.echo(f"  {path}: stays as it is")
            continue
        details = {"bundle": bundle.sha256, **tasks.details(made, bundle, code)}
        plain = made.model_copy(update={"pictures": {}})
        resultfiles.write(verification.verified(plain, "claimed", details), path)
        typer.echo(f"  {path}")


def _pass(checks: Sequence[Check], said: str) -> None:
    """Print every check, then the number of checks. Raises BundleError for the first that fails."""
    from ebbench.submissions import checking

    for check in checks:
        typer.echo(str(check))
    checking.first_bad(checks)
    typer.echo(f"{len(checks)} checks, all good{said}")


def _keep(bundle: Bundle, results: Path) -> None:
    """Copy the texts of a bundle beside the results, and name each text that cannot be kept."""
    from ebbench.submissions import checking
    from ebbench.submissions.kept import keep

    for name in keep(bundle, results):
        typer.echo(f"  {checking.shown(name)} is not kept: it is not UTF-8 text, or it is too long")
