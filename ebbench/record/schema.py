"""The Result schema: the content of one scored run, and how it is written, read and migrated.

A result is one JSON file. It is canonical (sorted keys, UTF-8, shortest float notation, no NaN, a newline at
the end), so equal results are equal files. It is written atomically, so readers never see a partial file. Its
JSON Schema is in `result.schema.json` beside this module, as printed by `python -m ebbench.record.schema`.

A change of the schema raises `SCHEMA_VERSION` and adds one function to `MIGRATIONS`; golden files of every
released version must always load.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ebbench.errors import ResultError
from ebbench.record import signing
from ebbench.record.text import shortened
from ebbench.record.values import (
    MOST_OF_A_NAME,
    MOST_OF_A_SEED,
    Cores,
    Count,
    FileName,
    Json,
    Line,
    Name,
    Number,
    Rate,
    Seconds,
    Time,
    Word,
)

SCHEMA_VERSION = 3


# The budget of models that were trained elsewhere, at unknown cost.
EXTERNAL = "external"


# How far a maintainer has confirmed the result.
Confirmed = Literal["claimed", "recomputed", "reproduced"]


Raw = dict[str, Any]


# What code hashes cover: all files of a folder as they are, or the parsed source that runs.
HashKind = Literal["files", "source"]


class _Part(BaseModel):
    # strict: a number stored as a string is an error.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TaskPart(_Part):
    """The task, its version, protocol, options and data."""

    name: Name
    version: Annotated[int, Field(ge=1, lt=2**31)]
    protocol: Name
    source: Annotated[Name, Field(description="the data that was found: mnist, digits")]
    options: Json = Field(default_factory=dict, description="every option of the task, as resolved")
    code_hash: Annotated[Word, Field(description="the hash of the task's code; '' where it is not known")] = (
        ""
    )
    data_code_hash: Annotated[
        Word, Field(description="the hash of the code that reads its data; '' where it is not known")
    ] = ""

    @property
    def row_options(self) -> dict[str, Any]:
        """The options that identify a row, without "source" (auto, mnist), which only determined `source`."""
        return {name: value for name, value in self.options.items() if name != "source"}


class ModelPart(_Part):
    """The model that was scored."""

    name: Name
    variant: Annotated[Word, Field(description="a named configuration of the model's card; '' is none")] = ""
    kind: Literal["model", "control"] = "model"
    title: Line = ""
    code_hash: Annotated[Word, Field(description="the hash of the model's code")]


class SamplerPart(_Part):
    """The sampler that was scored, with the value of every knob."""

    name: Name
    knobs: Json = Field(default_factory=dict)


class Curves(_Part):
    """What training logged: entry i of each series belongs to `step[i]` and `seconds[i]`.

    A series holds null if nothing was logged at that step.
    """

    step: list[Count] = Field(default_factory=list)
    seconds: list[Seconds] = Field(default_factory=list)
    series: dict[Name, list[Number | None]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _aligned(self) -> Curves:
        lengths = {"seconds": len(self.seconds)} | {name: len(v) for name, v in self.series.items()}
        for name, length in lengths.items():
            if length != len(self.step):
                raise ValueError(f"{name} has {length} entries, step has {len(self.step)}")
        return self


class Git(_Part):
    """The project's checkout; `dirty` if its code differs from the commit."""

    commit: Name
    dirty: bool


class Cpu(_Part):
    """The processor; `threads` is the number of threads that torch could use."""

    model: Word
    physical_cores: Cores | None = None
    logical_cores: Cores | None = None
    threads: Cores


class Gpu(_Part):
    """The GPU; `peak_memory` is this process's maximum, in bytes."""

    name: Word
    driver: Word | None = None
    cuda: Word | None = None
    peak_memory: Count
    shared: Annotated[
        bool, Field(description="other runs used it at the same time: no seconds here are a timing")
    ] = False


class Flags(_Part):
    """The settings of torch that can change a number."""

    tf32_matmul: bool
    tf32_cudnn: bool
    deterministic_algorithms: bool
    cudnn_deterministic: bool
    cudnn_benchmark: bool


class Provenance(_Part):
    """Code, packages, hardware and data behind a result, without any path, user or host name."""

    ebbench: Name
    git: Git | None
    packages: dict[Name, Word]
    python: Name
    platform: Name
    device: Name
    cpu: Cpu
    gpu: Gpu | None
    flags: Flags
    data_hashes: Annotated[dict[Name, Word], Field(description="SHA-256 by file name")]
    code_hash: Annotated[Word, Field(description="the hash of the model's code")]
    command: Line


class BasePart(_Part):
    """The trained model that a training builds on, and its own cost."""

    name: Name
    variant: Word = ""
    code_hash: Annotated[Word, Field(description="the hash of the model's code")]
    config: Json = Field(default_factory=dict)
    hash: Annotated[Word, Field(description="the hash of its training")]
    steps: Count
    seconds: Seconds
    base: BasePart | None = None


class Training(_Part):
    """The training behind the scored state; it may be older than the scoring."""

    hash: Annotated[Word, Field(description="the hash of all that determined the trained state")]
    steps: Count
    seconds: Seconds
    steps_per_second: Rate | None = None
    stopped_by: Annotated[
        Literal["steps", "time", "none"],
        Field(description="'time' only before version 3"),
    ]
    # Omitted if false, so that such a result equals the file from before graphs existed.
    as_graph: Annotated[
        bool, Field(description="its steps ran as a CUDA graph each", exclude_if=operator.not_)
    ] = False
    parameters: Annotated[Count, Field(description="the number of trainable parameters")]
    base: Annotated[
        BasePart | None, Field(description="what it built on; of several parts the first one's")
    ] = None
    curves: Curves = Field(default_factory=Curves)
    evaluations: Annotated[
        Curves, Field(description="what the task measured on the untrained model and after each epoch")
    ] = Field(default_factory=Curves)
    provenance: Annotated[
        Provenance | None, Field(description="where it was trained, if that is known; else as the result's")
    ] = None


class ScoringPart(_Part):
    """The scoring: its own hash, and its cost."""

    hash: Annotated[Word, Field(description="the hash of all that determined the metrics")]
    seconds: Seconds
    samples_per_second: Rate | None = None
    samples: Count | None = None
    diagnostics: Annotated[
        dict[Name, Number],
        Field(description="the means of what the sampler said of its draws"),
    ] = Field(default_factory=dict)


class PartOfResult(_Part):
    """One of several trainings that a task combines into one score: a held-out digit, a dimension."""

    name: Name
    metrics: dict[Name, Number]
    details: Json = Field(default_factory=dict)
    training: Training
    scoring: ScoringPart


class Verification(_Part):
    """How far a maintainer has confirmed the numbers, when, and what was found.

    `details["digest"]` is the SHA-256 of the rest of the result. `details["signed_by"]` names the maintainer,
    and `details["signature"]` covers the whole result except itself (`Result.message`).
    """

    tier: Confirmed
    checked: Time | None = None
    details: Json = Field(default_factory=dict)


class Result(_Part):
    """One scored run: one model, one task, one sampler, one seed."""

    schema_version: Literal[3] = 3
    run_id: Annotated[str, Field(max_length=MOST_OF_A_NAME, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+=,@-]*$")]
    created: Annotated[Time, Field(description="UTC, in whole seconds")]
    task: TaskPart
    model: ModelPart
    sampler: SamplerPart | None = None
    score: Annotated[Word, Field(description="the model's declared score, where the task asks for one")] = ""
    budget: Name
    config: Json = Field(default_factory=dict, description="every knob of the model, as resolved")
    overrides: Json = Field(default_factory=dict, description="the knobs that --set changed")
    seed: Annotated[int, Field(ge=0, le=MOST_OF_A_SEED)]
    metrics: dict[Name, Number]
    details: Json = Field(default_factory=dict)
    training: Annotated[Training, Field(description="of all parts together where there are several")]
    scoring: ScoringPart
    parts: list[PartOfResult] = Field(default_factory=list)
    pictures: Annotated[dict[Name, FileName], Field(description="name to file beside this one")] = Field(
        default_factory=dict
    )
    provenance: Provenance
    verification: Verification | None = None
    # The defaults of these two are the values of results from before version 3.
    hash_kind: Annotated[
        HashKind,
        Field(description="what the code hashes are of: all files of a folder, or the parsed source"),
    ] = "files"
    engine: Annotated[int, Field(ge=0, lt=2**31, description="the engine's version; 0 is not known")] = 0

    @property
    def confirmed(self) -> Confirmed:
        """The tier that a maintainer's signature confirms: "claimed" without a valid signature."""
        found = self.verification
        if found is None or found.tier == "claimed" or found.details.get("digest") != self.digest():
            return "claimed"
        name, signature = found.details.get("signed_by"), found.details.get("signature")
        if not isinstance(name, str) or not isinstance(signature, str):
            return "claimed"
        return found.tier if signing.holds(name, signature, self.message()) else "claimed"

    def message(self) -> bytes:
        """The bytes that a signature covers: the whole result, its verification included, but not itself."""
        whole = self.model_dump(mode="json", exclude_defaults=True)
        whole.get("verification", {}).get("details", {}).pop("signature", None)
        return canonical(whole).encode()

    def signed(self, key: signing.Key) -> Result:
        """The same result, signed with a maintainer's key. Raises ValueError without a verification."""
        if self.verification is None:
            raise ValueError("there is no verification to sign")
        details = {k: v for k, v in self.verification.details.items() if k != "signature"}
        named = self._with_details({**details, "signed_by": key.name})
        return named._with_details({**details, "signed_by": key.name, "signature": key.sign(named.message())})

    def _with_details(self, details: Mapping[str, Any]) -> Result:
        assert self.verification is not None
        verification = self.verification.model_copy(update={"details": dict(details)})
        return self.model_copy(update={"verification": verification})

    @property
    def trainings(self) -> frozenset[str]:
        """The hashes of the trainings it scores: its own, or its parts'."""
        return frozenset(part.training.hash for part in self.parts) or frozenset({self.training.hash})

    def digest(self) -> str:
        """SHA-256 of everything except the verification, which is bound to it."""
        # Excludes defaults, so that an optional field added by a later version does not invalidate a
        # verification. The default of such a field must therefore be the value of older results.
        rest = self.model_dump(mode="json", exclude={"verification"}, exclude_defaults=True)
        return hashlib.sha256(canonical(rest).encode()).hexdigest()

    def row_key(self) -> str:
        """What identifies a table row: results that differ only in their seed share it.

        JSON with sorted keys of the task (name, version, options, protocol, source), the hashes of its data,
        the model (name, variant), the overrides (of the model's settings and the sampler's knobs), the
        sampler, the declared score and the budget.
        """
        # Without an indent json encodes in C, ten times as fast, and a board asks for thousands of keys.
        return json.dumps(
            {
                "task": [
                    self.task.name,
                    self.task.version,
                    self.task.protocol,
                    self.task.source,
                    self.task.row_options,
                ],
                # A user's own files can change under one name.
                "data": self.provenance.data_hashes,
                "model": [self.model.name, self.model.variant],
                "overrides": self.overrides,
                "sampler": self.sampler.name if self.sampler else None,
                "score": self.score,
                "budget": self.budget,
            },
            sort_keys=True,
        )


def now() -> str:
    """The current time in the format of results: UTC, ISO 8601, whole seconds, "2026-01-31T09:00:00Z"."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def canonical(value: Any) -> str:
    """`value` as JSON with sorted keys, an indent of two spaces and no NaN (ValueError)."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)


def build(raw: Mapping[str, Any], *, where: str = "") -> Result:
    """The result described by `raw`; raises ResultError, which names each invalid field."""
    try:
        return Result.model_validate(dict(raw))
    except ValidationError as error:
        raise ResultError(
            f"a result does not fit schema version {SCHEMA_VERSION}: {_explain(error)}",
            where=where,
            expected="the fields of ebbench/record/result.schema.json",
        ) from error


def _explain(error: ValidationError, most: int = 5) -> str:
    found = error.errors(include_url=False, include_context=False)
    lines = []
    for item in found[:most]:
        # Keys and values are untrusted: reduce them to one line without terminal control characters.
        field = shortened(".".join(str(part) for part in item["loc"]), 200) or "result"
        value = repr(item["input"])
        # The "input" of a missing field is the whole surrounding object, which does not help.
        shown = "" if item["type"] == "missing" or len(value) > 60 else f" (found {value})"
        lines.append(f"{field}: {item['msg']}{shown}")
    if len(found) > most:
        lines.append(f"and {len(found) - most} more")
    return "; ".join(lines)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a result, as committed in `result.schema.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Result.model_json_schema(mode="validation"),
    }


if __name__ == "__main__":
    print(canonical(schema()))
