"""ebbench: an evaluation suite and leaderboard for energy-based and adversarial generative models.

The public names are loaded on first use, so that `import ebbench` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebbench.api import compare as compare
    from ebbench.api import results as results
    from ebbench.api import run as run
    from ebbench.api import table as table
    from ebbench.api import trained as trained
    from ebbench.contract import Data as Data
    from ebbench.contract import DataSpec as DataSpec
    from ebbench.contract import Labelled as Labelled
    from ebbench.contract import Law as Law
    from ebbench.contract import Limit as Limit
    from ebbench.contract import Metric as Metric
    from ebbench.contract import Model as Model
    from ebbench.contract import Published as Published
    from ebbench.contract import Run as Run
    from ebbench.contract import Score as Score
    from ebbench.contract import Scoring as Scoring
    from ebbench.contract import Store as Store
    from ebbench.contract import Task as Task
    from ebbench.contract import mean_score as mean_score
    from ebbench.contract import sampler as sampler
    from ebbench.contract import score as score
    from ebbench.errors import ContractError as ContractError
    from ebbench.errors import DataError as DataError
    from ebbench.errors import DataMissing as DataMissing
    from ebbench.errors import Diverged as Diverged
    from ebbench.errors import EbbenchError as EbbenchError
    from ebbench.errors import Stopped as Stopped
    from ebbench.errors import UsageError as UsageError
    from ebbench.pictures import sheet as sheet
    from ebbench.record.schema import Result as Result
    from ebbench.running.loggers import JsonLines as JsonLines
    from ebbench.running.loggers import Logger as Logger
    from ebbench.running.loggers import TensorBoard as TensorBoard
    from ebbench.running.loggers import WeightsAndBiases as WeightsAndBiases
    from ebbench.running.outside import evaluate as evaluate
    from ebbench.storage.hashing import derive_seed as derive_seed
    from ebbench.sweeps.survey import status as status

_HOMES = {
    "ContractError": "ebbench.errors",
    "Data": "ebbench.contract",
    "DataError": "ebbench.errors",
    "DataMissing": "ebbench.errors",
    "DataSpec": "ebbench.contract",
    "Diverged": "ebbench.errors",
    "EbbenchError": "ebbench.errors",
    "JsonLines": "ebbench.running.loggers",
    "Labelled": "ebbench.contract",
    "Law": "ebbench.contract",
    "Limit": "ebbench.contract",
    "Logger": "ebbench.running.loggers",
    "Metric": "ebbench.contract",
    "Model": "ebbench.contract",
    "Published": "ebbench.contract",
    "Result": "ebbench.record.schema",
    "Run": "ebbench.contract",
    "Score": "ebbench.contract",
    "Scoring": "ebbench.contract",
    "Stopped": "ebbench.errors",
    "Store": "ebbench.contract",
    "Task": "ebbench.contract",
    "TensorBoard": "ebbench.running.loggers",
    "UsageError": "ebbench.errors",
    "WeightsAndBiases": "ebbench.running.loggers",
    "compare": "ebbench.api",
    "derive_seed": "ebbench.storage.hashing",
    "evaluate": "ebbench.running.outside",
    "mean_score": "ebbench.contract",
    "results": "ebbench.api",
    "run": "ebbench.api",
    "sampler": "ebbench.contract",
    "score": "ebbench.contract",
    "sheet": "ebbench.pictures",
    "status": "ebbench.sweeps.survey",
    "table": "ebbench.api",
    "trained": "ebbench.api",
}

__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ebbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
