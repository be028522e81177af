"""Random panels through random actions are what plain lists make of them; few here, many by ``make soak``."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from columns import (
    EmbeddingColumn,
    FileColumn,
    ImageColumn,
    ObjectColumn,
    PredictionColumn,
    ScalarColumn,
    TensorColumn,
    TextColumn,
)
from workbench import storage
from workbench.panel import DataPanel

SOAK = os.environ.get("WORKBENCH_SOAK") == "1"
PANELS = 1000 if SOAK else 30


def plain(value: Any) -> Any:
    """Return a row as something that compares, exactly."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, Image.Image):
        return value.mode, value.size, value.tobytes()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return "nan" if isinstance(value, float) and value != value else value


def encoded(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def column_of(kind: str, rng: np.random.Generator, rows: int, folder: Path) -> Any:
    """Return a column of that kind with random rows, some of them null."""

    def some(make: Any) -> list[Any]:
        return [None if rng.random() < 0.25 else make() for _ in range(rows)]

    def picture() -> Image.Image:
        width, height = rng.integers(1, 5, 2).tolist()
        return Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8))

    def file() -> str:
        name = f"ä b/{rng.integers(1 << 40)}.png"
        (folder / "ä b").mkdir(exist_ok=True)
        (folder / name).write_bytes(encoded(picture()))
        return name

    if kind == "int":
        return ScalarColumn(pa.array(some(lambda: int(rng.integers(-9, 9))), pa.int64()))
    if kind == "float":
        return ScalarColumn(pa.array(some(lambda: rng.choice([0.0, -0.0, np.nan, np.inf, 1.5])), pa.float64()))
    if kind == "bool":
        return ScalarColumn(pa.array(some(lambda: bool(rng.integers(2))), pa.bool_()))
    if kind == "nested":
        nested = pa.struct([("a", pa.list_(pa.int8())), ("b", pa.string())])
        return ScalarColumn(pa.array(some(lambda: {"a": [1, None], "b": "ü"}), nested))
    if kind == "nothing":
        return ScalarColumn(pa.nulls(rows))
    if kind == "class":
        return ScalarColumn(pa.array(some(lambda: str(rng.choice(["x", "ÿ"]))), pa.string()), classes=["x", "ÿ", "z"])
    if kind == "text":
        return TextColumn(pa.array(some(lambda: "".join(map(chr, rng.integers(32, 900, 5)))), pa.string()))
    if kind == "tensor":
        dtype = rng.choice(["float32", "int64", "bool", "complex64", "float16"])
        made = some(lambda: rng.integers(0, 2, (2, 3)).astype(dtype))
        return TensorColumn(made if any(m is not None for m in made) else np.zeros((rows, 0), dtype))
    if kind == "embedding":
        return EmbeddingColumn(rng.random((rows, 3), np.float32))
    if kind == "prediction":
        return PredictionColumn(rng.random((rows, 2)), ["no", "yes"])
    if kind == "arrays":
        return ImageColumn(rng.integers(0, 255, (rows, 3, 2, int(rng.choice([1, 3, 4]))), np.uint8))
    if kind == "bytes":
        return ImageColumn(pa.array(some(lambda: encoded(picture())), pa.large_binary()), mode="L")
    if kind == "pictures":
        return ImageColumn([picture() for _ in range(rows)] if rows else np.zeros((0, 1, 1), np.uint8))
    if kind == "image files":
        return ImageColumn(pa.array(some(file), pa.string()), base=folder)
    if kind == "files":
        return FileColumn(pa.array(some(file), pa.string()), base=folder)
    return ObjectColumn(some(lambda: {"a": [1, None, {"b": 0.1}], "ü": "\ud800"}))


KINDS = [
    "int", "float", "bool", "nested", "nothing", "class", "text", "tensor", "embedding", "prediction", "arrays",
    "bytes", "pictures", "image files", "files", "object",
]  # fmt: skip
NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name != "order")
ACTIONS = st.one_of(
    st.tuples(st.just("slice"), st.integers(-4, 4), st.integers(-4, 9), st.sampled_from([1, 2, -1])),
    st.tuples(st.just("mask"), st.integers(0, 255)),
    st.tuples(st.just("sort"), st.booleans()),
    st.tuples(st.just("map"), st.sampled_from(["scalar", "tensor", "pending", "text", "image"]), NAMES),
    st.tuples(st.just("add"), st.sampled_from(KINDS), NAMES, st.integers(0, 99)),
    st.tuples(st.just("drop")),
    st.tuples(st.just("rename"), NAMES),
    st.tuples(st.just("append")),
    st.tuples(st.just("join"), st.sampled_from(["inner", "left"]), NAMES),
    st.tuples(st.just("save")),
    st.tuples(st.just("open"), st.integers(0, 5)),
)
MAPS: dict[str, Any] = {
    "scalar": lambda x: x * 3 if x % 2 else None,
    "tensor": lambda x: np.full((2,), x, np.float32) if x % 3 else None,
    "pending": lambda x: x + 1,
    "text": lambda x: f"no {x}" if x % 2 else None,
    "image": lambda x: Image.new("L", (1 + x % 2, 1), x % 256),
}


class Model:
    """A panel next to what it must hold: plain lists, computed at once."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder = folder
        self.seed = np.random.default_rng(rows)
        order = self.seed.permutation(rows)
        self.panel = DataPanel({"order": ScalarColumn(pa.array(order, pa.int64()))}, origin="ö/rigin")
        self.rows: dict[str, list[Any]] = {"key": [f"ö/rigin/{i}" for i in range(rows)], "order": order.tolist()}
        self.saved: list[dict[str, list[Any]]] = []
        self.next_origin = 0

    def choose(self, index: list[int]) -> None:
        self.rows = {name: [values[i] for i in index] for name, values in self.rows.items()}

    def put(self, name: str, column: Any, values: list[Any]) -> None:
        self.panel[name] = column
        self.rows["c" + name if name == "key" else name] = plain(values)

    def act(self, what: str, *how: Any) -> None:
        count, place = len(self.panel), self.folder / "pänel"
        if what == "slice":
            self.panel = self.panel[slice(*how)]
            self.choose(list(range(count))[slice(*how)])
        elif what == "mask":
            mask = [bool(how[0] >> (i % 8) & 1) for i in range(count)]
            self.panel = self.panel[np.array(mask, bool)]
            self.choose([i for i in range(count) if mask[i]])
        elif what == "sort":
            self.panel = self.panel.sort("order", ascending=how[0])
            order = self.rows["order"]
            self.choose(sorted(range(count), key=lambda i: order[i] if how[0] else -order[i]))
        elif what == "map":
            to = {"scalar": ScalarColumn, "tensor": TensorColumn, "text": TextColumn, "image": ImageColumn}.get(how[0])
            values = [MAPS[how[0]](x) for x in self.rows["order"]]
            values = [torch.from_numpy(v) if isinstance(v, np.ndarray) else v for v in values]
            self.put(how[1], self.panel["order"].map(MAPS[how[0]], to=to), values)
        elif what == "add":
            column = column_of(how[0], np.random.default_rng(how[2]), count, self.folder)
            self.put(how[1], column, column.to_list())
        elif what == "drop" and len(self.panel.columns) > 1:
            name = self.panel.columns[-1]
            self.panel = self.panel.drop(name)
            del self.rows["c" + name if name == "key" else name]
        elif what == "rename" and how[0] not in self.panel and self.panel.columns[-1] != "order":
            name = self.panel.columns[-1]
            self.panel = self.panel.rename({name: how[0]})
            values = self.rows.pop("c" + name if name == "key" else name)
            self.rows["c" + how[0] if how[0] == "key" else how[0]] = values
        elif what == "append" and count:
            self.next_origin += 1
            more = DataPanel({n: self.panel[n] for n in self.panel.columns}, origin=f"more {self.next_origin}")
            self.panel = self.panel.append(more)
            keys = self.rows["key"] + [f"more {self.next_origin}/{i}" for i in range(count)]
            self.rows = {n: v + v for n, v in self.rows.items()} | {"key": keys}
            renumbered = list(range(2 * count))  # so that sorting has one answer
            self.put("order", ScalarColumn(pa.array(renumbered, pa.int64())), renumbered)
        elif what == "join" and how[1] not in self.panel:
            right = sorted(x for x in self.rows["order"] if x % 3)
            texts = TextColumn(pa.array([f"right {x}" for x in right], pa.string()))
            other = DataPanel({"order": ScalarColumn(pa.array(right, pa.int64())), how[1]: texts}, origin="other")
            self.panel = self.panel.join(other, on="order", how=how[0])
            self.choose([i for i, x in enumerate(self.rows["order"]) if x % 3 or how[0] == "left"])
            found = [f"right {x}" if x % 3 else None for x in self.rows["order"]]
            self.rows["c" + how[1] if how[1] == "key" else how[1]] = found
        elif what == "save":
            assert self.panel.save(place) == len(self.saved) + 1
            self.saved.append(dict(self.rows))
        elif what == "open" and self.saved:
            version = len(self.saved) - how[0] % len(self.saved)
            self.panel = storage.open(place, version=version, base=self.folder)
            self.rows = dict(self.saved[version - 1])

    def check(self) -> None:
        assert sorted(self.panel.columns) == sorted("key" if n == "ckey" else n for n in self.rows if n != "key")
        assert self.panel.key.to_list() == self.rows["key"]
        for name in self.panel.columns:
            assert plain(self.panel[name].to_list()) == self.rows["c" + name if name == "key" else name], name


@pytest.mark.soak
@given(
    rows=st.integers(0, 9),
    kinds=st.lists(st.tuples(st.just("add"), st.sampled_from(KINDS), NAMES, st.integers(0, 99)), max_size=5),
    actions=st.lists(ACTIONS, min_size=2, max_size=14),
)
@settings(
    max_examples=PANELS, deadline=None, derandomize=not SOAK, suppress_health_check=[HealthCheck.too_slow],
    database=None,
)  # fmt: skip
def test_any_panel_through_any_actions_is_the_one_that_plain_lists_make(
    rows: int, kinds: list[Any], actions: list[Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Model(Path(folder).resolve(), rows)
        for action in [*kinds, *actions]:
            model.act(*action)
        model.check()
        model.act("save")
        model.act("open", 0)
        model.check()
