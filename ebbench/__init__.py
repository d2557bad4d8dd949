"""ebbench: an evaluation suite and leaderboard for energy-based and adversarial generative models.

The public names are loaded on first use, so that `import ebbench` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebbench.contract import Data as Data
    from ebbench.contract import DataSpec as DataSpec
    from ebbench.contract import Metric as Metric
    from ebbench.contract import Model as Model
    from ebbench.contract import Published as Published
    from ebbench.contract import Score as Score
    from ebbench.contract import Task as Task
    from ebbench.contract import sampler as sampler
    from ebbench.contract import score as score
    from ebbench.errors import EbbenchError as EbbenchError
    from ebbench.scoring import Scoring as Scoring
    from ebbench.training import Run as Run

_HOMES = {
    "Data": "ebbench.contract",
    "DataSpec": "ebbench.contract",
    "EbbenchError": "ebbench.errors",
    "Metric": "ebbench.contract",
    "Model": "ebbench.contract",
    "Published": "ebbench.contract",
    "Run": "ebbench.training",
    "Score": "ebbench.contract",
    "Scoring": "ebbench.scoring",
    "Task": "ebbench.contract",
    "sampler": "ebbench.contract",
    "score": "ebbench.contract",
}

__all__ = [
    "Data",
    "DataSpec",
    "EbbenchError",
    "Metric",
    "Model",
    "Published",
    "Run",
    "Score",
    "Scoring",
    "Task",
    "sampler",
    "score",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ebbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
