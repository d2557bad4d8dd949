"""How a sweep ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from ebbench.running.signals import TIME_IS_UP

# If at most this many runs failed for one reason, each is named; otherwise the first and the last.
MOST_NAMED = 3


@dataclass
class Summary:
    """How a sweep ended. Each list holds labels of runs; `failed` has the reasons too.

    `signal` is the number of the signal that ended the sweep, if one did.
    """

    done: list[str] = field(default_factory=list)
    existed: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """128 + the signal that ended the sweep; else 1 if a run failed, 124 if runs are left, and 0."""
        if self.signal is not None:
            return 128 + self.signal
        if self.failed:
            return 1
        return TIME_IS_UP if self.left else 0

    def text(self) -> str:
        """Return a line with the counts, and then the failures with their reasons."""
        lines = [
            f"{len(self.done)} done, {len(self.existed)} done before, {len(self.failed)} failed, "
            f"{len(self.left)} left"
        ]
        lines += self.failures("failed")
        if self.left:
            lines.append("the same command goes on with what is left")
        return "\n".join(lines)

    def failures(self, what: str) -> list[str]:
        """Return one line for each reason why runs failed, with their labels. Each line begins with `what`.

        Missing data can stop every run of a plan. The reason is then given once, not for each run.
        """
        by_reason: dict[str, list[str]] = {}
        for label, reason in self.failed:
            by_reason.setdefault(reason, []).append(label)
        return [f"{what}: {_named(labels)} ({reason})" for reason, labels in by_reason.items()]


def _named(labels: list[str]) -> str:
    if len(labels) <= MOST_NAMED:
        return ", ".join(labels)
    return f"{len(labels)} runs, from {labels[0]} to {labels[-1]}"
