"""Reads in the source of a space's own `fit` whether the objective may still come from its return value.

Most spaces only pass the arguments on to `model.fit`. If the first epoch of such a space lacks the objective, all of
them will lack it, and it need not train a whole trial to find out.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

_UNCERTAIN = (
    *(ast.For, ast.While, ast.comprehension),
    *(ast.Lambda, ast.FunctionDef, ast.ClassDef, ast.Yield, ast.YieldFrom),
)
"""Syntax with which it is not obvious how often `model.fit` is called, or what is returned."""


def may_return(fit: Callable[..., Any], model: Any, objective: str) -> bool:
    """Return whether the objective may be known only after `fit`, if the first epoch's metrics lack it.

    False only if that is certain: `fit` calls Keras's `model.fit` once, with its own callbacks and no others, and
    returns the History, a dict with other names, or nothing.

    Args:
        fit: The function `fit` of the space's class.
        model: The model that it gets.
        objective: Name of the objective.
    """
    if "fit" in vars(model) or not type(model).fit.__module__.startswith("keras."):
        return True
    function = _source(fit)
    if function is None:
        return True
    nodes = [node for statement in function.body for node in ast.walk(statement)]
    call = _only_call(function, nodes)
    if call is None or any(isinstance(node, _UNCERTAIN) for node in nodes):
        return True
    return any(isinstance(node, ast.Return) and _may_have(node.value, call, nodes, objective) for node in nodes)


def _source(fit: Callable[..., Any]) -> ast.FunctionDef | None:
    """Return the syntax tree of a function that is not decorated and has the argument of a model; None if unknown."""
    try:
        [function] = ast.parse(textwrap.dedent(inspect.getsource(fit))).body
    except (OSError, TypeError, ValueError, SyntaxError):
        return None
    if not isinstance(function, ast.FunctionDef) or function.decorator_list or len(_arguments(function)) < 3:
        return None
    return function


def _arguments(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]


def _only_call(function: ast.FunctionDef, nodes: list[ast.AST]) -> ast.Call | None:
    """Return the call of `model.fit`; None if there are several, or if it may get more callbacks or validate rarely."""
    model = _arguments(function)[2]  # after self and hp
    methods = [node for node in nodes if isinstance(node, ast.Attribute) and _is_name(node.value, model)]
    if len(_uses(model, nodes)) != len(methods):
        return None  # the model is passed to something else, or replaced
    calls = [node for node in nodes if isinstance(node, ast.Call) and node.func in methods]
    calls = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "fit"]
    if len(calls) != 1:
        return None
    passed = list(_passed_on(calls[0]))
    own = {"callbacks"} | {each.arg for each in (function.args.vararg, function.args.kwarg) if each}
    if any(len(_uses(name, nodes)) != sum(_is_name(value, name) for value in passed) for name in own):
        return None
    is_plain = all(isinstance(value, ast.Name) and value.id in own for value in passed)
    rarely = any(keyword.arg == "validation_freq" for keyword in calls[0].keywords)
    return calls[0] if is_plain and not rarely else None


def _passed_on(call: ast.Call) -> Iterator[ast.expr]:
    """Yield the values that may be callbacks: the argument of that name, and unpacked arguments."""
    yield from (argument.value for argument in call.args if isinstance(argument, ast.Starred))
    yield from (keyword.value for keyword in call.keywords if keyword.arg in (None, "callbacks"))


def _may_have(value: ast.expr | None, call: ast.Call, nodes: list[ast.AST], objective: str) -> bool:
    """Return whether a returned value may contain the objective although no epoch has it."""
    if value is None or value is call or (isinstance(value, ast.Constant) and value.value is None):
        return False
    if isinstance(value, ast.Dict):
        names = [key.value for key in value.keys if isinstance(key, ast.Constant)]
        return len(names) < len(value.keys) or objective in names
    if not isinstance(value, ast.Name):
        return True
    assigned = [node for node in nodes if isinstance(node, ast.Assign) and node.value is call]
    is_history = len(assigned) == 1 and len(assigned[0].targets) == 1 and _is_name(assigned[0].targets[0], value.id)
    return not is_history or len(_uses(value.id, nodes)) != 2


def _uses(name: str, nodes: list[ast.AST]) -> list[ast.AST]:
    return [node for node in nodes if _is_name(node, name)]


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
