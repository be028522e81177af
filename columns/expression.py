"""Expressions: how rows come to be.

A column is an expression; some expressions are just arrays. Nodes are frozen and *interned*: building the
same node twice gives the same object, so equality is identity, a diamond is one node, and results that hang
on a node are found again by whoever writes the same expression.

========= ==========================================================================================
`Source`  rows from an array, a file, a list of files
`Take`    the rows of another node under a selection
`Concat`  several nodes, one after the other
`Op`      a cheap function of whole columns; run when asked, never kept
`Map`     a costly function, run in batches; its outputs are `Pick` nodes, whose rows are kept
`Pick`    one output of a `Map`
========= ==========================================================================================
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .errors import LengthError
from .selection import Selection

if TYPE_CHECKING:
    from .functions import Function, Operation
    from .memo import Memo
    from .sources import RowSource

__all__ = ["Concat", "Map", "Node", "Op", "Pick", "Source", "Take", "apply", "digest", "digests", "take", "walk"]

N = TypeVar("N", bound="Node")

_nodes: weakref.WeakValueDictionary[tuple[Any, ...], Node] = weakref.WeakValueDictionary()
_lock = threading.RLock()

# Deeper than this, maps are no longer pushed below selections: nobody nests joins and appends so far by
# hand, and a loop that does should not meet Python's recursion limit.
_PUSH_DEPTH = 60


class Node:
    """One step of an expression over `length` rows."""

    __slots__ = ("__weakref__", "inputs", "label", "length", "memo")

    inputs: tuple[Node, ...]
    length: int
    label: str | None  # the column's name where a panel holds it; for error messages only
    memo: Memo | None

    def _start(self, inputs: tuple[Node, ...], length: int) -> None:
        self.inputs = inputs
        self.length = length
        self.label = None
        self.memo = None

    def words(self, inner: Sequence[str]) -> str:
        """Return the node in words, given its inputs in words."""
        raise AssertionError

    def own_digest(self) -> str | None:
        """Return a hash of what this node adds to its inputs; None if it has no stable one."""
        raise AssertionError

    def __repr__(self) -> str:
        # Iterative and cut short: expressions may be thousands of nodes deep.
        return _in_words(self, depth=4)


class Source(Node):
    """Rows that are there, or can be read."""

    __slots__ = ("source",)

    source: RowSource

    def __new__(cls, source: RowSource) -> Source:
        return _interned((cls, id(source)), lambda: cls._make(source))

    @classmethod
    def _make(cls, source: RowSource) -> Source:
        node = object.__new__(cls)
        node._start((), len(source))
        node.source = source
        return node

    def words(self, inner: Sequence[str]) -> str:
        return repr(self.source)

    def own_digest(self) -> str | None:
        return self.source.digest()


class Take(Node):
    """The rows of `inputs[0]` under a selection. Selections may hold `NO_ROW`, as outer joins need."""

    __slots__ = ("selection",)

    selection: Selection

    def __new__(cls, base: Node, selection: Selection) -> Take:
        # Comparing row numbers would cost too much here: panels share selection objects, and ranges compare at once.
        rows = id(selection) if selection.range is None else selection.range
        return _interned((cls, base, rows), lambda: cls._make(base, selection))

    @classmethod
    def by_content(cls, node: Take) -> Take:
        """Return the one node for these rows of that base, whichever selection object they came under."""
        if node.selection.range is not None:
            return node
        return _interned((cls, node.inputs[0], node.selection.digest()), lambda: node)

    @classmethod
    def _make(cls, base: Node, selection: Selection) -> Take:
        node = object.__new__(cls)
        node._start((base,), len(selection))
        node.selection = selection
        return node

    def words(self, inner: Sequence[str]) -> str:
        return f"{inner[0]}[{self.selection!r}]"

    def own_digest(self) -> str | None:
        return self.selection.digest()


class Concat(Node):
    """Several nodes, one after the other."""

    __slots__ = ("starts",)

    starts: list[int]

    def __new__(cls, parts: Sequence[Node]) -> Concat:
        flat: list[Node] = []
        for part in parts:
            flat.extend(part.inputs if isinstance(part, Concat) else (part,))
        key = tuple(flat)
        return _interned((cls, *key), lambda: cls._make(key))

    @classmethod
    def _make(cls, parts: tuple[Node, ...]) -> Concat:
        node = object.__new__(cls)
        starts = [0]
        for part in parts:
            starts.append(starts[-1] + part.length)
        node._start(parts, starts[-1])
        node.starts = starts
        return node

    def words(self, inner: Sequence[str]) -> str:
        return f"concat({', '.join(inner)}{', ...' if len(self.inputs) > len(inner) else ''})"

    def own_digest(self) -> str | None:
        return str(len(self.inputs))


class Op(Node):
    """A cheap, vectorised operation; its rows are not kept."""

    __slots__ = ("operation",)

    operation: Operation

    def __new__(cls, operation: Operation, inputs: tuple[Node, ...]) -> Op:
        # The words count as well: 1, 1.0 and True are equal in Python, and so are 0.0 and -0.0.
        return _interned((cls, operation, repr(operation), *inputs), lambda: cls._make(operation, inputs))

    @classmethod
    def _make(cls, operation: Operation, inputs: tuple[Node, ...]) -> Op:
        node = object.__new__(cls)
        node._start(inputs, _one_length(inputs))
        node.operation = operation
        return node

    def words(self, inner: Sequence[str]) -> str:
        return self.operation.words(inner)

    def own_digest(self) -> str | None:
        return repr(self.operation)


class Map(Node):
    """A costly function of one or several inputs; run in batches, its outputs are kept by row."""

    __slots__ = ("function",)

    function: Function

    def __new__(cls, function: Function, inputs: tuple[Node, ...]) -> Map:
        return _interned((cls, function, *inputs), lambda: cls._make(function, inputs))

    @classmethod
    def _make(cls, function: Function, inputs: tuple[Node, ...]) -> Map:
        node = object.__new__(cls)
        node._start(inputs, _one_length(inputs))
        node.function = function
        return node

    def words(self, inner: Sequence[str]) -> str:
        return f"{self.function.name}({', '.join(inner)})"

    def own_digest(self) -> str | None:
        return self.function.digest()


class Pick(Node):
    """One output of a `Map`."""

    __slots__ = ("output",)

    output: str

    def __new__(cls, map_: Map, output: str) -> Pick:
        return _interned((cls, map_, output), lambda: cls._make(map_, output))

    @classmethod
    def _make(cls, map_: Map, output: str) -> Pick:
        node = object.__new__(cls)
        node._start((map_,), map_.length)
        node.output = output
        return node

    @property
    def map(self) -> Map:
        """The map whose output this is."""
        node = self.inputs[0]
        assert isinstance(node, Map)
        return node

    def words(self, inner: Sequence[str]) -> str:
        return f"{inner[0]}.{self.output}" if self.output else inner[0]

    def own_digest(self) -> str | None:
        return self.output


def take(node: Node, selection: Selection) -> Node:
    """Return `node` under `selection`; nested selections are composed, the whole is the node itself."""
    if selection.is_whole(node.length):
        return node
    if isinstance(node, Take):
        return Take(node.inputs[0], node.selection.compose(selection))
    return Take(node, selection)


def apply(
    build: Callable[[tuple[Node, ...]], tuple[Node, ...]], inputs: tuple[Node, ...], *, strict: bool = True
) -> tuple[Node, ...]:
    """Build nodes over `inputs`, pushed below the selections and concatenations that all of them share.

    So every selection of a column shares one memo: ``Map(Take(x))`` becomes ``Take(Map(x))``.

    Parameters
    ----------
    build : callable
        Makes the output nodes from input nodes.
    inputs : tuple of Node
        All of one length.
    strict : bool
        Whether null in means null out. What is not strict (``is_null``) stays above selections that
        make nulls.
    """
    return _apply(build, inputs, strict, 0)


def _apply(
    build: Callable[[tuple[Node, ...]], tuple[Node, ...]], inputs: tuple[Node, ...], strict: bool, depth: int
) -> tuple[Node, ...]:
    first = inputs[0]
    if depth < _PUSH_DEPTH:
        takes = [n for n in inputs if isinstance(n, Take)]
        if isinstance(first, Take) and len(takes) == len(inputs):
            shared = all(first.selection.same_rows(t.selection) for t in takes)
            one_space = len({t.inputs[0].length for t in takes}) == 1
            if shared and one_space and (strict or not first.selection.nullable):
                below = _apply(build, tuple(t.inputs[0] for t in takes), strict, depth + 1)
                return tuple(take(n, first.selection) for n in below)
        concats = [n for n in inputs if isinstance(n, Concat)]
        aligned = isinstance(first, Concat) and len(concats) == len(inputs)
        if aligned and all(c.starts == concats[0].starts for c in concats):
            parts = zip(*(c.inputs for c in concats), strict=True)
            columns = [_apply(build, tuple(group), strict, depth + 1) for group in parts]
            return tuple(Concat(outputs) for outputs in zip(*columns, strict=True))
    return build(inputs)


def walk(targets: Iterable[Node]) -> Iterator[Node]:
    """Yield every node that `targets` rest on, inputs before those who use them, each once."""
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(node, False) for node in targets]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((n, False) for n in node.inputs if n not in seen)


def digest(node: Node) -> str | None:
    """Return a hash of content that holds across processes, or None if some part has none.

    Notes
    -----
    Data count with their content, files with path, size and time of change, functions with their name,
    declared version and weights. A lambda or an opaque callable has no such hash.
    """
    return digests(walk([node]))[node]


def digests(nodes: Iterable[Node]) -> dict[Node, str | None]:
    """Return the `digest` of each of `nodes`, which come with all that they rest on, inputs before users."""
    known: dict[Node, str | None] = {}
    for n in nodes:
        own, inner = n.own_digest(), [known[i] for i in n.inputs]
        if own is None or None in inner:
            known[n] = None
        else:
            text = "\x1f".join([type(n).__name__, own, *map(str, inner)])
            known[n] = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return known


def _interned(key: tuple[Any, ...], make: Callable[[], N]) -> N:
    with _lock:
        node = _nodes.get(key)
        if node is None:
            node = make()
            _nodes[key] = node
        return cast("N", node)


def _one_length(inputs: tuple[Node, ...]) -> int:
    lengths = {n.length for n in inputs}
    if len(lengths) != 1:
        raise LengthError(f"Columns used together must have one length; got {sorted(lengths)}.")
    return lengths.pop()


def _in_words(node: Node, depth: int) -> str:
    if depth == 0:
        return "..."
    # Of many parts joined into one, the first few are enough.
    inner = node.inputs[:3] if isinstance(node, Concat) else node.inputs
    return node.words([_in_words(n, depth - 1) for n in inner])
