"""Masks as COCO annotations, and back: polygons, run lengths, and run lengths packed into text."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import FeedbackError
from .checks import as_whole, check_one_of, cut
from .lines import read_json, told_at, write_file
from .records import ROLES, Record, checked, rationale
from .regions import ImageRegion
from .shapes import polygon_region, union, unpacked_counts

if TYPE_CHECKING:
    from ..panel import DataPanel
    from .exchange import Exchange

__all__ = ["export_annotations", "import_annotations"]


def export_annotations(log: Exchange, path: str | os.PathLike[str], column: str, rule: str) -> int:
    """Write regions as COCO annotations; see `Exchange.export_coco`."""
    images: dict[str, dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    for category, role in enumerate(ROLES, start=1):
        for key, region in log.regions(role, column=column, rule=rule).items():
            if not isinstance(region, ImageRegion):
                raise FeedbackError(f"COCO has masks of pictures; what was said of '{key}' is of {region.extent}.")
            image = images.setdefault(
                key,
                {"id": len(images) + 1, "key": key, "file_name": key.partition("/")[2] or key,
                 "height": region.height, "width": region.width},
            )  # fmt: skip
            if region.empty:
                continue
            rows, columns = (np.flatnonzero(region.mask().any(axis=axis)) for axis in (1, 0))
            left, top = int(columns[0]), int(rows[0])
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image["id"], "category_id": category, "iscrowd": 1,
                 "area": region.size, "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
                 "segmentation": {"size": [region.height, region.width], "counts": list(region.counts)}},
            )  # fmt: skip
    categories = [{"id": number, "name": role} for number, role in enumerate(ROLES, start=1)]
    whole = {"images": list(images.values()), "annotations": annotations, "categories": categories}
    write_file(path, [json.dumps(whole, ensure_ascii=False) + "\n"])
    return len(annotations)


def import_annotations(
    log: Exchange,
    path: str | os.PathLike[str],
    panel: DataPanel | None,
    categories: Mapping[str, str] | None,
    column: str,
    author: str | None,
) -> tuple[Record, ...]:
    """Add COCO annotations; see `Exchange.import_coco`."""
    whole = read_json(path)
    names = ("images", "annotations", "categories")
    if not isinstance(whole, dict) or not all(_is_list_of_objects(whole.get(name)) for name in names):
        raise FeedbackError(f"'{path}' is no COCO file: it must hold lists of objects under {list(names)}.")
    with told_at(f"'{path}'"):
        images = {_id(image.get("id")): image for image in whole["images"]}
        roles = _roles(whole["categories"], categories)
    found: dict[tuple[Any, str], list[ImageRegion]] = {}
    for number, annotation in enumerate(whole["annotations"], start=1):
        with told_at(f"Annotation {number} of '{path}' (id {cut(annotation.get('id'))})"):
            image, role = images.get(_id(annotation.get("image_id"))), _id(annotation.get("category_id"))
            if image is None or role not in roles:
                raise FeedbackError("it must name an image and a category of the file by their ids")
            if roles[role]:
                region = _region(annotation.get("segmentation"), image)
                found.setdefault((image["id"], roles[role]), []).append(region)
    wanted = dict.fromkeys(image for image, _ in found)
    with told_at(f"'{path}'"):
        keys = dict(zip(wanted, _keys([images[number] for number in wanted], panel), strict=True))
    about = {"column": column, "how": "imported", "author": author or log.author}
    records = [
        checked(rationale(keys[image], role, union(regions), **about)) for (image, role), regions in found.items()
    ]
    with log._writing() as connection:
        return log._append(connection, records)


def _is_list_of_objects(part: Any) -> bool:
    return isinstance(part, list) and all(isinstance(item, dict) for item in part)


def _id(value: Any) -> int | str:
    if not isinstance(value, (int, str)):
        raise FeedbackError(f"ids must be numbers or text; got {cut(value)}")
    return value


def _roles(given: Sequence[Mapping[str, Any]], categories: Mapping[str, str] | None) -> dict[Any, str]:
    """Return what each category counts as, by its id; empty for one that is left out."""
    for role in (categories or {}).values():
        check_one_of(role, ROLES, "role")
    roles: dict[Any, str] = {}
    for category in given:
        name = str(category.get("name"))
        role = name if categories is None else categories.get(name, "")
        if role and role not in ROLES:
            raise FeedbackError(
                f"category {name!r} is neither of {list(ROLES)}. Say what it counts as: "
                f"categories={{{name!r}: 'irrelevant'}}; others are left out"
            )
        roles[_id(category.get("id"))] = role
    return roles


def _keys(images: Sequence[Mapping[str, Any]], panel: DataPanel | None) -> list[str]:
    """Return the key of each image: its own, or the one of the panel's that is, or ends in, its file name."""
    names = [image.get("key", image.get("file_name")) for image in images]
    unnamed = next((image for image, name in zip(images, names, strict=True) if not isinstance(name, str)), None)
    if unnamed is not None:
        raise FeedbackError(f"an image must have a 'file_name' or a 'key'; image {cut(unnamed.get('id'))} has neither")
    texts = [str(name) for name in names]
    if panel is None:
        return texts
    known = panel.key.to_arrow()
    given = pa.array(texts, known.type)
    exact = set(given.filter(pc.is_in(given, value_set=known)).to_pylist())
    ends: dict[str, list[str]] = {name: [] for name in texts if name not in exact}
    for key in known.to_pylist() if ends else ():
        # Every end of a key after a slash: a file name may have directories of its own.
        start = key.find("/")
        while start >= 0:
            if key[start + 1 :] in ends:
                ends[key[start + 1 :]].append(key)
            start = key.find("/", start + 1)
    for name, keys in ends.items():
        if len(keys) != 1:
            what = f"several rows of the panel, {cut(keys[:3])}," if keys else "no row of the panel"
            raise FeedbackError(f"image '{name}' must be one row of the panel; {what} may be meant by it")
    return [name if name in exact else ends[name][0] for name in texts]


def _region(segmentation: Any, image: Mapping[str, Any]) -> ImageRegion:
    height, width = as_whole(image.get("height"), "height", 1), as_whole(image.get("width"), "width", 1)
    if isinstance(segmentation, dict):
        if segmentation.get("size") != [height, width]:
            raise FeedbackError(
                f"a mask must be of the size of its image, {[height, width]}; got {cut(segmentation.get('size'))}"
            )
        counts = segmentation.get("counts")
        return ImageRegion(height, width, unpacked_counts(counts) if isinstance(counts, str) else counts)  # type: ignore[arg-type]
    if not isinstance(segmentation, list) or not segmentation:
        raise FeedbackError(f"a segmentation must be polygons or run lengths; got {cut(segmentation)}")
    return union([polygon_region(polygon, height, width) for polygon in segmentation])
