"""The tests between methods that the page of comparisons puts into words.

Holm's correction depends on which tests a reader sees at once, so the script applies it. All else is here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from ebbench.site import wording

from ebbench.board import pairwise, stats
from ebbench.board.labels import spelled
from ebbench.board.ranking import by_seed
from ebbench.board.row import Row
from ebbench.contract import Metric


def of_task(title: str, metric: Metric, rows: Sequence[Row | None]) -> dict[str, Any]:
    """The tests of one task. `rows` has the best row of each method, in the order of the page's columns.

    `pairs` has one entry for each two methods with a row; its key is their columns, as in "0,2":

    - `gap`: the difference of the means as text, with half of its 95 % interval;
    - `p`: the p-value before any correction, or None if a method has a single seed;
    - `test`: the test in words;
    - `better`: which of the two has the better mean, 0 or 1, or None if neither has;
    - `higher`: which of the two has the higher mean;
    - `seeds`: the number of seeds of each.
    """
    found = {place: by_seed(row, metric.name) for place, row in enumerate(rows) if row is not None}
    p = pairwise.p_values(list(found.values()))
    pairs = {}
    for (i, a), (j, b) in itertools.combinations(enumerate(found), 2):
        difference, common = stats.gap(found[a], found[b]), len(found[a].keys() & found[b].keys())
        test = f"paired t-test over {common} seeds" if common > 1 else "Welch's test over different seeds"
        better = None
        if metric.better != "neither" and difference.mean:
            better = int((difference.mean < 0) == (metric.better == "higher"))
        sides = spelled(abs(difference.mean), difference.half_width)
        tested = not math.isnan(p[i, j])
        pairs[f"{a},{b}"] = {
            "gap": sides,
            "p": float(p[i, j]) if tested else None,
            "test": test if tested else "",
            "better": better,
            "higher": int(difference.mean < 0),
            "seeds": [len(found[a]), len(found[b])],
        }
    return {"task": title, "metric": wording.metric(metric), "unit": wording.unit(metric), "pairs": pairs}
