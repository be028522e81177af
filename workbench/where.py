"""`where`: an expression in text, parsed by Python's own parser and lowered to lazy columns.

Nothing is executed and no query is glued: only the nodes named here mean something, and only the columns named
in the text are computed.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from columns import Column, KindError, PredictionColumn

from .errors import NoColumnError, PanelError

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["condition"]

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.invert,
    ast.Invert: operator.invert,
    ast.USub: operator.neg,
}
# What may be read off a column by a dot; everything else is refused, underscores first of all.
_PROPERTIES = {"label", "confidence", "entropy", "margin"}
_METHODS = {"isin", "is_null", "contains", "length", "lower", "codes", "probability", "fill_null"}


def condition(panel: DataPanel, text: str) -> Any:
    """Return the lazy column that `text` describes.

    Parameters
    ----------
    panel : DataPanel
        Its columns are the names. A name that is no column is a property of the panel's only prediction
        column: ``confidence < 0.6``. Backticks quote names that Python cannot spell.
    text : str
        Comparisons, arithmetic, ``and``, ``or``, ``not``, ``in``, and the methods of columns.

    Raises
    ------
    PanelError
        If the text cannot be read, or means something that is not allowed here.
    NoColumnError
        If a name is neither a column nor a property.
    """
    quoted: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        name = f"quoted_{len(quoted)}_"
        quoted[name] = match.group(1)
        return name

    try:
        tree = ast.parse(re.sub(r"`([^`]+)`", stand_in, text).strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        hint = " Equality is `==`." if re.search(r"[^=!<>]=[^=]", text) else ""
        raise PanelError(f"Cannot read the condition {text!r}: {getattr(error, 'msg', error)}.{hint}") from error
    try:
        return _Lowering(panel, quoted, text).visit(tree.body)
    except RecursionError as error:
        raise PanelError(f"The condition is nested too deeply: {text[:60]!r}...") from error


class _Lowering(ast.NodeVisitor):
    """From syntax to columns."""

    def __init__(self, panel: DataPanel, quoted: dict[str, str], text: str) -> None:
        self.panel = panel
        self.quoted = quoted
        self.text = text

    def generic_visit(self, node: ast.AST) -> Any:
        raise PanelError(
            f"A condition is made of columns, values, comparisons, arithmetic, and, or, not, in; "
            f"`{ast.unparse(node)}` in {self.text!r} is none of these."
        )

    def visit_Constant(self, node: ast.Constant) -> Any:
        return node.value

    def visit_List(self, node: ast.List) -> Any:
        return [self.visit(item) for item in node.elts]

    visit_Tuple = visit_Set = visit_List  # type: ignore[assignment]

    def visit_Name(self, node: ast.Name) -> Any:
        name = self.quoted.get(node.id, node.id)
        if name in self.panel.columns:
            return self.panel[name]
        predictions = [n for n in self.panel.columns if self.panel.kind(n) == "prediction"]
        if name in _PROPERTIES and len(predictions) == 1:
            return getattr(self.panel[predictions[0]], name)
        if name in _PROPERTIES and predictions:
            raise PanelError(f"'{name}' could be of {' or '.join(predictions)}; write '{predictions[0]}.{name}'.")
        raise NoColumnError(self.panel.no_column(name))

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        owner = self.visit(node.value)
        if node.attr in _PROPERTIES and isinstance(owner, PredictionColumn):
            return getattr(owner, node.attr)
        kind = owner.kind if isinstance(owner, Column) else type(owner).__name__
        raise PanelError(
            f"`{ast.unparse(node)}` is not known of a {kind}; predictions have {', '.join(sorted(_PROPERTIES))}."
        )

    def visit_Call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Name) and node.func.id == "abs" and len(node.args) == 1:
            return abs(self.visit(node.args[0]))
        if not isinstance(node.func, ast.Attribute) or node.func.attr not in _METHODS:
            raise PanelError(
                f"`{ast.unparse(node.func)}` may not be called here; methods of columns may, as in "
                f"`prediction.probability('cat')`: {', '.join(sorted(_METHODS))}."
            )
        owner = self.visit(node.func.value)
        if not isinstance(owner, Column) or not hasattr(owner, node.func.attr):
            raise PanelError(f"`{ast.unparse(node.func)}` does not exist for this column.")
        named = {k.arg: self.visit(k.value) for k in node.keywords if k.arg}
        return getattr(owner, node.func.attr)(*(self.visit(a) for a in node.args), **named)

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        combine = operator.and_ if isinstance(node.op, ast.And) else operator.or_
        result = self.visit(node.values[0])
        for value in node.values[1:]:
            result = combine(result, self.visit(value))
        return result

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        value = self.visit(node.operand)
        if isinstance(node.op, ast.UAdd):
            return value
        return (not value) if isinstance(value, bool) else _UNARY[type(node.op)](value)

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        if type(node.op) not in _BINARY:
            return self.generic_visit(node)
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Pow) and not isinstance(left, Column) and not isinstance(right, Column):
            return self.generic_visit(node)  # 9**9**9 of plain numbers would never end
        return _BINARY[type(node.op)](left, right)

    def visit_Compare(self, node: ast.Compare) -> Any:
        result: Any = None
        left = self.visit(node.left)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.visit(comparator)
            part = self._compare(op, left, right, node)
            result = part if result is None else result & part
            left = right
        return result

    def _compare(self, op: ast.cmpop, left: Any, right: Any, node: ast.Compare) -> Any:
        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(left, Column) or not isinstance(right, list):
                raise PanelError(f"`in` needs a column and a list of values; got `{ast.unparse(node)}`.")
            inside = left.isin(right)  # type: ignore[attr-defined]
            return ~inside if isinstance(op, ast.NotIn) else inside
        if isinstance(op, (ast.Is, ast.IsNot)) or left is None or right is None:
            column = right if left is None else left
            if not isinstance(column, Column):
                raise PanelError(f"Only a column can be null; got `{ast.unparse(node)}`.")
            null = column.is_null()
            return ~null if isinstance(op, (ast.IsNot, ast.NotEq)) else null
        left, right = _as_label(left, right), _as_label(right, left)
        return _COMPARE[type(op)](left, right)


def _as_label(side: Any, other: Any) -> Any:
    """Let a prediction stand for its label where it is compared: ``label != prediction``."""
    if isinstance(side, PredictionColumn):
        if isinstance(other, (int, float)) and not isinstance(other, bool):
            raise KindError(f"A prediction is compared by its class name, not with the number {other}.")
        return side.label
    return side
