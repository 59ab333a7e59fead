"""Choose points by an expression over their values, as `sweep.where` gives it; nothing of it is run as Python."""

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from thpsweep.errors import OptionError
from thpsweep.sweep.records.schema import Point

MAX_CHARACTERS, MAX_DEPTH = 1000, 100
GRAMMAR = (
    "true or false from numbers, 'words', [lists], names of values such as sharing.degree, null, + - * / // % **, "
    "< <= == != >= >, in, not, and, or, brackets"
)
CONSTANTS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}

ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: math.pow,  # of floats: 9**9**9 overflows at once
}
SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
MEMBERSHIP: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.In: lambda value, among: value in among,
    ast.NotIn: lambda value, among: value not in among,
}
EQUALITY: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
COMPARISONS = {**ORDER, **MEMBERSHIP, **EQUALITY}

_MISSING = object()


class Where:
    """A filter. The name of a group stands for the option chosen; a name that a point does not have is null there.

    Null equals only null, and calculating with it or ordering it is refused: no point is kept or dropped by mistake.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._body = _parsed(text)
        self._names = [_dotted(node) for node in ast.walk(self._body) if isinstance(node, ast.Name | ast.Attribute)]

    def chosen(self, points: Sequence[Point]) -> list[bool]:
        """Tell which points the expression holds for.

        Raises: OptionError for a name that no point has, and for a point that has no answer.
        """
        for name in self._names:
            if points and not any(_has(point, name) for point in points):
                known = dict.fromkeys(key for point in points for key in _keys(point, ""))
                raise OptionError("sweep.where", self.text, f"a value's name in place of {name}: {', '.join(known)}")
        return [self._holds(point) for point in points]

    def _holds(self, point: Point) -> bool:
        try:
            return _truth(_value(self._body, point))
        except (_Unanswerable, ArithmeticError, ValueError) as problem:  # math.pow() says ValueError
            where = f"workload={_at(point, 'workload')}, policy={_at(point, 'policy')}"
            raise OptionError("sweep.where", self.text, f"what every point answers; {where}: {problem}") from problem


def as_override(argument: str) -> str:
    """Quote the expression of `sweep.where=EXPRESSION` for Hydra, whose grammar has no < and >; leave all else alone."""
    key, _, text = argument.partition("=")
    is_quoted = re.fullmatch(r"""\s*(['"])(\\.|(?!\1).)*\1\s*""", text)
    if key.lstrip("+") != "sweep.where" or is_quoted or text in ("", "null"):
        return argument
    return f"{key}={quoted(text)}"


def quoted(text: str) -> str:
    """Quote a text for Hydra's grammar."""
    escaped = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), text)
    return f"'{escaped}'"


class _Unanswerable(Exception):
    """A value is not of the kind that an operation takes."""


def _parsed(text: str) -> ast.expr:
    """Read an expression. Raises: OptionError naming what is not in the grammar."""
    if len(text) > MAX_CHARACTERS:
        raise OptionError("sweep.where", f"{text[:40]}...", f"at most {MAX_CHARACTERS} characters")
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise OptionError("sweep.where", text, GRAMMAR) from error
    if _depth(body) > MAX_DEPTH:
        raise OptionError("sweep.where", text, f"at most {MAX_DEPTH} operations inside each other")
    for refused in _outside_grammar(body):
        raise OptionError("sweep.where", text, f"{GRAMMAR}; not {ast.unparse(refused)!r}")
    return body


def _depth(node: ast.AST) -> int:
    level, depth = [node], 0
    while level:
        level, depth = [child for parent in level for child in ast.iter_child_nodes(parent)], depth + 1
    return depth


def _outside_grammar(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return
        case ast.Name() | ast.Attribute(value=ast.Name() | ast.Attribute()):
            inner: Sequence[ast.expr] = [node.value] if isinstance(node, ast.Attribute) else []
        case ast.List(elts=inner) | ast.Tuple(elts=inner) | ast.BoolOp(values=inner):
            pass
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
            inner = [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            inner = [left, right]
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in COMPARISONS for op in ops):
            inner = [left, *others]
        case _:
            yield node
            return
    for child in inner:
        yield from _outside_grammar(child)


def _value(node: ast.expr, point: Point) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            name = _dotted(node)
            return CONSTANTS[name] if name in CONSTANTS else _at(point, name)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, point) for item in items]
        case ast.BoolOp(op=op, values=operands):
            stops = isinstance(op, ast.Or)
            return next((stops for operand in operands if _truth(_value(operand, point)) is stops), not stops)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _truth(_value(operand, point))
        case ast.UnaryOp(op=op, operand=operand):
            return SIGNS[type(op)](_number(operand, _value(operand, point)))
        case ast.BinOp(left=left, op=op, right=right):
            one, other = (_number(side, _value(side, point)) for side in (left, right))
            return ARITHMETIC[type(op)](one, other)
        case ast.Compare(left=left, ops=ops, comparators=others):
            pairs = zip([left, *others], ops, others, strict=False)
            return all(_compared(one, op, other, point) for one, op, other in pairs)
    raise AssertionError(ast.dump(node))


def _compared(left: ast.expr, op: ast.cmpop, right: ast.expr, point: Point) -> bool:
    one, other = _value(left, point), _value(right, point)
    if type(op) in MEMBERSHIP and not isinstance(other, list):
        raise _Unanswerable(f"{ast.unparse(right)} is {_shown(other)}, not a list")
    if type(op) in ORDER and not (isinstance(one, str) and isinstance(other, str)):
        one, other = _number(left, one), _number(right, other)
    return COMPARISONS[type(op)](one, other)


def _number(node: ast.expr, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unanswerable(f"{ast.unparse(node)} is {_shown(value)}, not a number")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Unanswerable(f"{_shown(value)} is neither true nor false")
    return value


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value)


def _dotted(node: ast.expr) -> str:
    return ast.unparse(node)


def _has(point: Point, name: str) -> bool:
    return name in CONSTANTS or _find(point, name) is not _MISSING


def _at(point: Point, name: str) -> Any:
    value = _find(point, name)
    if isinstance(value, dict):
        return value.get("name", value.get("kind"))
    return None if value is _MISSING else value


def _find(point: Point, name: str) -> Any:
    node: Any = point
    for key in name.split("."):
        if not isinstance(node, dict) or key not in node:
            return _MISSING
        node = node[key]
    return node


def _keys(node: Any, prefix: str) -> Iterator[str]:
    """List the names of all values below a node."""
    for key, child in node.items():
        if isinstance(child, dict):
            yield from _keys(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
