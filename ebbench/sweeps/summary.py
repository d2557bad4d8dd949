"""How a sweep ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from ebbench.running.signals import TIME_IS_UP


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
        lines += [f"failed: {label} ({reason})" for label, reason in self.failed]
        if self.left:
            lines.append("the same command goes on with what is left")
        return "\n".join(lines)
