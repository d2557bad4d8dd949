"""Find what a plug-in's class offers: samplers, scores, knobs, nets, field documentation."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import inspect
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

from ebbench.contract import BOUND, CAPABILITIES, CLASSIFY, Model
from ebbench.errors import ContractError


def samplers(model: type[Model]) -> dict[str, Callable[..., Tensor]]:
    """The samplers of a model class by name. The method `sample` is "generator" unless marked otherwise."""
    return _marked(model, "_ebbench_sampler", {"sample": "generator"})


def scores(model: type[Model]) -> dict[str, Callable[..., Tensor]]:
    """The scores of a model class by name, including `energy` and `log_likelihood_bound`."""
    plain = {"energy": "energy", BOUND: BOUND}
    return _marked(model, "_ebbench_score", plain)


def answers(model: type[Model]) -> dict[str, Callable[..., Tensor]]:
    """The methods that a model class has for single examples, by name: its scores, and `classify`."""
    method = inspect.getattr_static(model, CLASSIFY, None)
    return scores(model) | ({CLASSIFY: method} if callable(method) else {})


def _marked(model: type[Model], mark: str, plain: Mapping[str, str]) -> dict[str, Callable[..., Tensor]]:
    found: dict[str, Callable[..., Tensor]] = {}
    for attribute in dir(model):
        method = inspect.getattr_static(model, attribute)
        name = getattr(method, mark, plain.get(attribute))
        if name is not None and callable(method):
            found[name] = method
    return found


def capabilities(model: type[Model]) -> tuple[str, ...]:
    """The names in `CAPABILITIES` that a model class offers."""
    able = {
        "sample": bool(samplers(model)),
        "energy": bool(scores(model)),
        BOUND: BOUND in scores(model),
        CLASSIFY: CLASSIFY in answers(model),
    }
    return tuple(name for name in CAPABILITIES if able[name])


def nets(model: Model) -> dict[str, nn.Module]:
    """The nets of a model by name, including those of a model in an attribute, except `base`."""
    from torch.nn import Module

    found: dict[str, nn.Module] = {}
    for name, value in vars(model).items():
        if isinstance(value, Module):
            found[name] = value
        elif isinstance(value, Model) and name != "base":
            found |= {f"{name}.{inner}": net for inner, net in nets(value).items()}
    return found


def knobs(sampler_method: Callable[..., Tensor]) -> dict[str, Any]:
    """The knobs of a sampler and their defaults. Knobs are its keyword-only arguments.

    Raises ContractError for a knob without a default, and for any other argument without one, except `n`.
    """
    found = {}
    for position, (name, parameter) in enumerate(inspect.signature(sampler_method).parameters.items()):
        knob = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        needed = parameter.default is inspect.Parameter.empty
        if knob and not needed:
            found[name] = parameter.default
        # The first two arguments are self and n.
        elif needed and (knob or (position > 1 and parameter.kind not in _COLLECTED)):
            raise ContractError(
                f"the argument '{name}' of the sampler has no default",
                where=f"{sampler_method.__qualname__}() in {_file(sampler_method)}",
                expected="a knob: a keyword-only argument (behind a *) with a default",
                fix=f"write *, {name}: ... = ...",
            )
    return found


_COLLECTED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def knob_types(sampler_method: Callable[..., Tensor], where: str) -> dict[str, Any]:
    """The type of each knob of a sampler: its resolved annotation, or else the type of its default.

    Raises ContractError as `knobs` does, and for an annotation that cannot be resolved.
    """
    method = inspect.unwrap(sampler_method)
    written = inspect.get_annotations(method)
    found = {}
    for name, default in knobs(sampler_method).items():
        if name in written:
            found[name] = _resolved(written[name], method, name, where)
        else:
            found[name] = Any if default is None else type(default)
    return found


def field_types(config: type[Any], where: str) -> dict[str, Any]:
    """The type of each field of a dataclass by name, including the fields of its bases.

    Raises ContractError, which names the field, for an annotation that cannot be resolved.
    """
    # mypy does not accept a class as hashable.
    key: Any = config
    return dict(_field_types(key, where))


# A board asks for them once for each row, so cache them. A plug-in that changes gets a new class.
@functools.lru_cache(maxsize=256)
def _field_types(config: type[Any], where: str) -> dict[str, Any]:
    written: dict[str, tuple[Any, type[Any]]] = {}
    for cls in reversed(config.__mro__[:-1]):
        written |= {name: (annotation, cls) for name, annotation in _annotations(cls, where).items()}
    found = {}
    for field in dataclasses.fields(config):
        annotation, owner = written[field.name]
        found[field.name] = _resolved(annotation, owner, field.name, where)
    return found


def _annotations(cls: type[Any], where: str) -> dict[str, Any]:
    try:
        return inspect.get_annotations(cls)
    except Exception as error:  # annotations may be evaluated only now
        raise ContractError(f"an annotation cannot be resolved: {error}", where=where) from error


def _resolved(annotation: Any, owner: Any, name: str, where: str) -> Any:
    """Resolve an annotation in the place where it was written: in `owner`, a class or a function."""
    module = vars(sys.modules.get(owner.__module__, builtins))
    # A postponed annotation may also name something in the enclosing classes.
    around: dict[str, Any] = {}
    outer: Any = types.SimpleNamespace(**module)
    for part in owner.__qualname__.split("."):
        outer = getattr(outer, part, None)
        around |= vars(outer) if isinstance(outer, type) else {}
    local = {k: v for k, v in around.items() if k not in module and not hasattr(builtins, k)}
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        return typing.get_type_hints(holder, module, local)[name]
    except Exception as error:
        raise ContractError(
            f"the type of '{name}', {annotation}, cannot be resolved: {error}",
            where=where,
            expected="a type that is defined in the module or in the class",
            fix="import it, or define it above (not only under TYPE_CHECKING)",
        ) from error


def _file(method: Callable[..., Any]) -> str:
    code = inspect.unwrap(method).__code__
    return f"{Path(code.co_filename).parent.name}/{Path(code.co_filename).name}:{code.co_firstlineno}"


def field_docs(config: type[Any]) -> dict[str, str]:
    """The string under each field of a dataclass by name. Python drops it, so this reads the source."""
    found: dict[str, str] = {}
    for cls in reversed(config.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        except (OSError, TypeError, SyntaxError):  # without a source file, as in an interactive session
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
