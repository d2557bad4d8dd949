"""What a command says of a finished run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ebbench.contract import Metric
    from ebbench.running.settings import Outcome


def print_outcome(outcome: Outcome, metrics: Sequence[Metric]) -> None:
    """Print a result: its seed, each of the task's `metrics` that it has, and its file."""
    result = outcome.result
    said = "done before, nothing was run (--force repeats it)" if outcome.existed else "done"
    typer.echo(f"seed {result.seed}: {said}  [source={result.task.source}]")
    print_metrics(result.metrics, metrics)
    typer.echo(f"  {outcome.path}")


def print_metrics(values: Mapping[str, float], metrics: Sequence[Metric]) -> None:
    """Print one line per metric. A star marks the primary metrics."""
    # A task may leave out what its options do not ask for.
    scored = [metric for metric in metrics if metric.name in values]
    width = max((len(metric.name) for metric in scored), default=0)
    for metric in scored:
        unit = f" {metric.unit}" if metric.unit else ""
        star = "*" if metric.primary else " "
        typer.echo(f"  {star} {metric.name:<{width}} {values[metric.name]:.6g}{unit}")


@contextlib.contextmanager
def stdout_kept_clean(wanted: bool) -> Iterator[None]:
    """Within the block, where `wanted`, all that is written to standard output goes to standard error.

    Also what child processes and libraries in C write: what is printed after the block stands alone.
    """
    if not wanted:
        yield
        return
    from ebbench.plugins.process import stdout_as_stderr

    with stdout_as_stderr(), contextlib.redirect_stdout(sys.stderr):
        yield
