"""How far a number was confirmed (its tier), and which tiers are ranked."""

from __future__ import annotations

from typing import Literal, get_args

from ebbench.board.names import Names
from ebbench.plugins import loader
from ebbench.record.schema import EXTERNAL, Result
from ebbench.storage import made

Tier = Literal["claimed", "recomputed", "reproduced", "made here"]
# In increasing order of confirmation.
TIERS: tuple[Tier, ...] = get_args(Tier)
# Trained and scored by the board's maintainers: only these tiers have a rank.
RANKED: tuple[Tier, ...] = ("reproduced", "made here")

# Key in a verification's details: the hash of the task's code, if the submission brought the task.
OWN_TASK = "own_task"


def own_task(result: Result) -> str:
    """The hash of the code of a task that came with the submission; "" for a task of the board."""
    details = result.verification.details if result.verification else {}
    return str(details.get(OWN_TASK, ""))


def tier_of(result: Result, names: Names) -> tuple[Tier, str]:
    """The tier of a result, and why it is lower than its file says ("" if it is not).

    `made here`: made on this machine, or made by the project's own models and not submitted. `reproduced` and
    `recomputed` need a maintainer's signature. Everything else is `claimed`.
    """
    if refused := names.refusal(result):
        return "claimed", refused
    if result.verification is not None:
        said, confirmed = result.verification.tier, result.confirmed
        return confirmed, "" if confirmed == said else f"claimed: no maintainer signed that it is {said}"
    own = result.model.name in loader.built_in("model") and result.budget != EXTERNAL
    return ("made here" if own or made.is_marked(result.digest()) else "claimed"), ""
