"""State: the world after the conversation, or after a turn, by replay of what should have happened or by assertions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, Final, cast

from sayso.evals.checks.case import Case, CheckedTurn, checked
from sayso.evals.expectations import StateExpectation
from sayso.evals.records import Check, State
from sayso.evals.world import difference, world_hash
from sayso.items import JsonObject

_FUNCTIONS: Final = {"len": len, "sum": sum, "min": min, "max": max, "any": any, "all": all, "sorted": sorted}


def check(case: Case) -> Iterator[Check]:
    """All checks of the world."""
    for turn in case.turns:
        if turn.expect.state is not None:
            yield from _check(case, turn, turn.expect.state, case.trace.world_after(turn.index))
    if case.scenario.final.state is not None:
        yield from _check(case, None, case.scenario.final.state, case.trace.world)


def state_of(case: Case) -> State | None:
    """The world at the end, for the record; None where there is none."""
    if not case.trace.start and not case.trace.world:
        return None
    expected = case.scenario.final.state or StateExpectation()
    wanted, found = _wanted(case, None, expected), case.trace.world
    if not isinstance(wanted, dict):
        return State(hash=world_hash(found, expected.exclude, expected.decimals))
    return State(
        hash=world_hash(found, expected.exclude, expected.decimals),
        expected_hash=world_hash(wanted, expected.exclude, expected.decimals),
        diff=difference(wanted, found, expected.exclude, expected.decimals),
    )


def _check(case: Case, turn: CheckedTurn | None, expected: StateExpectation, found: JsonObject) -> Iterator[Check]:
    events = case.final_event if turn is None else turn.trace.last_event
    index = None if turn is None else turn.index
    wanted = _wanted(case, index, expected)
    if isinstance(wanted, str):
        yield Check(name="state.equals", turn=index, verdict="void", message=f"The expected world: {wanted}.")
    elif wanted is not None:
        differences = difference(wanted, found, expected.exclude, expected.decimals)
        told = "; ".join(f"{one.path} is {one.found!r} in place of {one.expected!r}" for one in differences[:5])
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        yield checked("state.equals", turn, not differences, f"The world is another: {told}{more}.", events=events)
    for assertion in expected.assertions or ():
        try:
            ok = bool(evaluate(assertion, found))
            yield checked("state.assert", turn, ok, f"It does not hold: {assertion}", events=events, expected=assertion)
        except AssertionSyntax as error:
            message = f"{assertion} cannot be asked: {error}."
            yield Check(name="state.assert", turn=index, verdict="void", message=message, expected=assertion)


def _wanted(case: Case, turn: int | None, expected: StateExpectation) -> JsonObject | str | None:
    if expected.equals_after is not None:
        return case.replays.get(turn, "it was not made")
    return cast("JsonObject | None", expected.equals)


class AssertionSyntax(ValueError):
    """An assertion that is none."""


def evaluate(assertion: str, world: JsonObject) -> Any:
    """The value of an assertion: Python's comparisons over the world, with dots for keys.

    ``appointments.A17.slot == 'S2'``, ``len(messages) == 0``, ``'x' in tags``, ``all(r.paid for r in bills)``. What is
    not there is None.

    Raises:
        AssertionSyntax: It uses more than that.
    """
    try:
        tree = ast.parse(assertion.strip(), mode="eval")
    except SyntaxError as error:
        raise AssertionSyntax(error.msg) from None
    return _Evaluator(world).value(tree.body)


class _Evaluator:
    def __init__(self, names: JsonObject) -> None:
        self._names = names

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self._names.get(node.id)
            case ast.Attribute():
                return _at(self.value(node.value), node.attr)
            case ast.Subscript():
                return _at(self.value(node.value), self.value(node.slice))
            case ast.List() | ast.Tuple() | ast.Set():
                return [self.value(part) for part in node.elts]
            case ast.UnaryOp():
                return _unary(node.op, self.value(node.operand))
            case ast.BoolOp():
                values = (self.value(part) for part in node.values)
                return all(values) if isinstance(node.op, ast.And) else any(values)
            case ast.BinOp():
                return _binary(node.op, self.value(node.left), self.value(node.right))
            case ast.Compare():
                return self._compare(node)
            case ast.GeneratorExp() | ast.ListComp():
                return self._rows(node)
            case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
                return _guarded(_FUNCTIONS[name], *(self.value(part) for part in node.args))
            case _:
                raise AssertionSyntax(f"{ast.unparse(node)} is not allowed")

    def _compare(self, node: ast.Compare) -> bool:
        left = self.value(node.left)
        for operator, part in zip(node.ops, node.comparators, strict=True):
            right = self.value(part)
            if not _holds(operator, left, right):
                return False
            left = right
        return True

    def _rows(self, node: ast.GeneratorExp | ast.ListComp) -> list[Any]:
        if len(node.generators) != 1 or not isinstance(node.generators[0].target, ast.Name):
            raise AssertionSyntax("one row at a time")
        loop = node.generators[0]
        rows: Any = self.value(loop.iter)
        found: list[Any] = []
        for row in cast("JsonObject", rows).values() if isinstance(rows, dict) else rows or ():
            inner = _Evaluator({**self._names, cast("ast.Name", loop.target).id: row})
            if all(inner.value(condition) for condition in loop.ifs):
                found.append(inner.value(node.elt))
        return found


def _at(holder: Any, key: Any) -> Any:
    try:
        return holder[key]
    except (LookupError, TypeError):
        return None


def _guarded(function: Any, *values: Any) -> Any:
    try:
        return function(*values)
    except TypeError:
        return None


def _unary(operator: ast.unaryop, value: Any) -> Any:
    if isinstance(operator, ast.Not):
        return not value
    return _guarded(lambda: -value if isinstance(operator, ast.USub) else +value)


def _binary(operator: ast.operator, left: Any, right: Any) -> Any:
    match operator:
        case ast.Add():
            return _guarded(lambda: left + right)
        case ast.Sub():
            return _guarded(lambda: left - right)
        case _:
            raise AssertionSyntax("only + and - are known")


def _holds(operator: ast.cmpop, left: Any, right: Any) -> bool:
    match operator:
        case ast.Eq() | ast.Is():
            return bool(left == right)
        case ast.NotEq() | ast.IsNot():
            return bool(left != right)
        case ast.In():
            return bool(_guarded(lambda: left in right))
        case ast.NotIn():
            return not _guarded(lambda: left in right)
        case ast.Lt():
            return bool(_guarded(lambda: left < right))
        case ast.LtE():
            return bool(_guarded(lambda: left <= right))
        case ast.Gt():
            return bool(_guarded(lambda: left > right))
        case _:
            return bool(_guarded(lambda: left >= right))
