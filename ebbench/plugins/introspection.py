"""What a plug-in's class offers: samplers, scores, knobs, nets, field documentation."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

from ebbench.contract import BOUND, CAPABILITIES, Model


def samplers(model: type[Model]) -> dict[str, Callable[..., Tensor]]:
    """The samplers of a model class by name; `sample` itself is "generator" unless marked."""
    return _marked(model, "_ebbench_sampler", {"sample": "generator"})


def scores(model: type[Model]) -> dict[str, Callable[..., Tensor]]:
    """The scores of a model class by name, `energy` and `log_likelihood_bound` among them."""
    plain = {"energy": "energy", BOUND: BOUND}
    return _marked(model, "_ebbench_score", plain)


def _marked(model: type[Model], mark: str, plain: Mapping[str, str]) -> dict[str, Callable[..., Tensor]]:
    found: dict[str, Callable[..., Tensor]] = {}
    for attribute in dir(model):
        method = inspect.getattr_static(model, attribute)
        name = getattr(method, mark, plain.get(attribute))
        if name is not None and callable(method):
            found[name] = method
    return found


def capabilities(model: type[Model]) -> tuple[str, ...]:
    """Which of `CAPABILITIES` a model class offers."""
    able = {
        "sample": bool(samplers(model)),
        "energy": bool(scores(model)),
        BOUND: BOUND in scores(model),
    }
    return tuple(name for name in CAPABILITIES if able[name])


def nets(model: Model) -> dict[str, nn.Module]:
    """The nets of a model by name, with those of a model that it keeps; the base's are not its own."""
    from torch.nn import Module

    found: dict[str, nn.Module] = {}
    for name, value in vars(model).items():
        if isinstance(value, Module):
            found[name] = value
        elif isinstance(value, Model) and name != "base":
            found |= {f"{name}.{inner}": net for inner, net in nets(value).items()}
    return found


def knobs(sampler_method: Callable[..., Tensor]) -> dict[str, Any]:
    """A sampler's knobs and their defaults: its keyword-only arguments."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(sampler_method).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def field_docs(config: type[Any]) -> dict[str, str]:
    """The string under each field of a dataclass, by name; Python drops it, so it is read from the source."""
    found: dict[str, str] = {}
    for cls in reversed(config.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        except (OSError, TypeError, SyntaxError):  # no source file: defined in a session
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for statement, after in zip(body, body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                found[statement.target.id] = " ".join(after.value.value.split())
    return found
