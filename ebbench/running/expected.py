"""The expected result of a run, and whether it exists: known before the run, and without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ebbench.errors import ResultError, UsageError
from ebbench.record import resultfiles, schema
from ebbench.running.identity import Identity
from ebbench.running.spec import Spec


@dataclass(frozen=True)
class Expected:
    """The result of one run: its file, its name, and the hashes of its task's code.

    `folder` is the name of the task's folder.
    """

    path: Path
    run_id: str
    task: str
    folder: str
    code: str
    data_code: str | None

    @classmethod
    def of(cls, path: Path, identity: Identity, spec: Spec) -> Expected:
        """The expected result of a run of `spec` in the file `path`."""
        task = spec.task
        return cls(path, identity.run_id, task.name, task.folder.name, task.code_hash, task.data_code_hash)

    def __call__(self) -> schema.Result | None:
        """The result; None if the file does not exist.

        Raises UsageError if the file is not a result of this run, or is from different code of the task, and
        StorageError if it cannot be read.
        """
        if not self.path.exists():
            return None
        again = "give the command again with --force, which trains and scores again"
        try:
            found = resultfiles.read(self.path)
        except ResultError as error:
            raise UsageError(
                f"the file of this run is not a result: {error.what}",
                where=str(self.path),
                fix=f"remove it, or {again}",
            ) from error
        # The id ends in the scoring hash of the whole task; `scoring` has that of a single part.
        if found.run_id != self.run_id:
            raise UsageError(
                "the file of this run holds another run's result",
                where=str(self.path),
                expected=f"run {self.run_id}",
                fix=f"move it away, or {again}",
            )
        if (found.task.code_hash, found.task.data_code_hash) != (self.code, self.data_code):
            raise UsageError(
                f"the code of task '{self.task}' has changed since this result was made, but not its version",
                where=f"{self.folder}/task.py, version {found.task.version}; the result is {self.path}",
                expected="a new version for every change that can move a score",
                fix="raise `version` in task.py; the same command then scores the stored training again. "
                f"If the change cannot move a score, {again}",
            )
        return found
