"""How far a number was confirmed, and whether that is enough for a rank."""

from __future__ import annotations

from typing import Literal, get_args

from ebbench.board.names import Names
from ebbench.plugins import loader
from ebbench.record.schema import EXTERNAL, Result
from ebbench.storage import made

Tier = Literal["claimed", "recomputed", "reproduced", "made here"]
# From the least to the most that was done to confirm a number.
TIERS: tuple[Tier, ...] = get_args(Tier)
# Trained and scored by those who answer for the board: only these have a rank.
RANKED: tuple[Tier, ...] = ("reproduced", "made here")

# In the details of a verification: the hash of the task's code, where a submission brought the task.
OWN_TASK = "own_task"


def own_task(result: Result) -> str:
    """The hash of the code of the task that came with a submission; "" for a task of the board."""
    details = result.verification.details if result.verification else {}
    return str(details.get(OWN_TASK, ""))


def tier_of(result: Result, names: Names) -> tuple[Tier, str]:
    """The tier of a result; and why it is less than its file says, "" where it is not.

    `made here` is what this machine made, and what the project's own models made and nobody submitted.
    `reproduced` and `recomputed` need a maintainer's signature. All else is somebody's word: `claimed`.
    """
    if refused := names.refusal(result):
        return "claimed", refused
    if result.verification is not None:
        said, confirmed = result.verification.tier, result.confirmed
        return confirmed, "" if confirmed == said else f"claimed: no maintainer signed that it is {said}"
    own = result.model.name in loader.built_in("model") and result.budget != EXTERNAL
    return ("made here" if own or made.is_marked(result.digest()) else "claimed"), ""
