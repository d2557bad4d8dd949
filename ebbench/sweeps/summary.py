"""How a sweep ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from ebbench.running.signals import TIME_IS_UP

# So many runs that failed for one reason are named; of more, the first and the last.
MOST_NAMED = 3


@dataclass
class Summary:
    """How a sweep ended; each list holds the labels of runs, and `failed` the reasons too."""

    done: list[str] = field(default_factory=list)
    existed: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """0; 1 if a run failed; 124 if some are left; 128 + the signal that ended the sweep."""
        if self.signal is not None:
            return 128 + self.signal
        if self.failed:
            return 1
        return TIME_IS_UP if self.left else 0

    def text(self) -> str:
        """One line for all kinds, and the failures by name, each with its reason."""
        lines = [
            f"{len(self.done)} done, {len(self.existed)} done before, {len(self.failed)} failed, "
            f"{len(self.left)} left"
        ]
        lines += self.failures("failed")
        if self.left:
            lines.append("the same command goes on with what is left")
        return "\n".join(lines)

    def failures(self, what: str) -> list[str]:
        """A line for each reason why runs failed, with the runs; `what` happened to them begins it.

        Data that is not here stops every run of a plan: said once, not once a run.
        """
        by_reason: dict[str, list[str]] = {}
        for label, reason in self.failed:
            by_reason.setdefault(reason, []).append(label)
        return [f"{what}: {_named(labels)} ({reason})" for reason, labels in by_reason.items()]


def _named(labels: list[str]) -> str:
    if len(labels) <= MOST_NAMED:
        return ", ".join(labels)
    return f"{len(labels)} runs, from {labels[0]} to {labels[-1]}"
