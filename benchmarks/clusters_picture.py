"""The picture of clusters: what the maps of each have in common, beside some of its rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from explain.clusters import Clusters, ClusterSummary
from workbench import DataPanel
from workbench.overlays import saliency_picture

__all__ = ["cluster_picture"]

_MARGIN = 40
_SIDE = 112  # of an example; the mean map is as high
_GAP = 10
_WORDS = 250  # width of the words beside a cluster
_EXAMPLES = 6
_STRIP = 120  # height of the eigenvalues
_INK, _SOFT, _RULE, _PAPER = (34, 34, 34), (112, 112, 112), (222, 222, 222), (255, 255, 255)
_HOT = (230, 80, 0)


def cluster_picture(
    title: str, panel: DataPanel, maps: Tensor, clusters: Clusters, truth: Tensor, names: Sequence[str]
) -> Image.Image:
    """Draw clusters of explanations, one a line.

    Parameters
    ----------
    title : str
        First line.
    panel : DataPanel
        With ``image`` and ``label`` of each row.
    maps : Tensor, shape (rows, channels, height, width)
        What was clustered.
    clusters : Clusters
        The clusters.
    truth : Tensor, shape (rows,), int64
        The true group of each row, to compare with.
    names : sequence of str
        Of the true groups.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    groups = clusters.describe(maps, truth)
    classes = clusters.describe(maps, panel["label"].codes().to_torch())
    left = _MARGIN + _WORDS
    first = left + _SIDE + 3 * _GAP  # x of the first example
    width = first + _EXAMPLES * (_SIDE + _GAP) - _GAP + _MARGIN
    top = _MARGIN + 104
    line = _SIDE + 2 * _GAP
    height = top + len(clusters) * line + _STRIP + _MARGIN
    page = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((_MARGIN, _MARGIN), title, _INK, _font(26), anchor="lt")
    outside = int((clusters.labels < 0).sum())
    empty = f"; {outside:,} are empty" if outside else ""
    told = f"{len(panel):,} explanations, grouped by what they point at{empty}. Nobody told where the swatch is. "
    told += "Orange: magnitude of input times gradient."
    pen.text((_MARGIN, _MARGIN + 38), told, _SOFT, _font(15), anchor="lt")
    for x, words in ((left, "mean map"), (first, "most typical"), (first + _SIDE + _GAP, "drawn at random")):
        pen.text((x, top - 10), words, _SOFT, _font(13), anchor="ls")
    for group, by_class in zip(groups, classes, strict=True):
        y = top + group.cluster * line
        most = panel["label"].spec.classes[by_class.label or 0]
        _words(pen, y, group, names[group.label or 0], f"most frequent class: {most}, {_percent(by_class.purity)}")
        page.paste(_heat(group.mean_map.numpy()), (left, y))
        pen.rectangle((left, y, left + _SIDE - 1, y + _SIDE - 1), outline=_RULE)
        for number, row in enumerate(_shown(clusters, group)):
            look = saliency_picture(panel["image"][row], maps[row].numpy(), size=_SIDE)
            page.paste(look, (first + number * (_SIDE + _GAP), y))
    _eigenvalues(pen, _MARGIN, height - _MARGIN - _STRIP + 20, width - _MARGIN, clusters)
    return page


def _words(pen: ImageDraw.ImageDraw, y: int, group: ClusterSummary, name: str, classes: str) -> None:
    pen.text((_MARGIN, y + 4), f"{group.cluster + 1}", _HOT, _font(26), anchor="lt")
    x = _MARGIN + 34
    pen.text((x, y + 4), f"{group.size:,} rows · {100 * group.share:.1f}%", _INK, _font(18), anchor="lt")
    pen.text((x, y + 36), f"swatch at {name}: {_percent(group.purity)}", _SOFT, _font(14), anchor="lt")
    pen.text((x, y + 58), classes, _SOFT, _font(14), anchor="lt")


def _heat(values: NDArray[np.float64]) -> Image.Image:
    """Return a map from white to hot, up to its own largest value."""
    share = (values / values.max())[..., None]
    colours = np.asarray(_PAPER) * (1 - share) + np.asarray(_HOT) * share
    return Image.fromarray(colours.round().astype(np.uint8)).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)


def _shown(clusters: Clusters, group: ClusterSummary) -> list[int]:
    """Return the medoid, and other rows drawn by the number of the cluster."""
    (members,) = (clusters.labels == group.cluster).nonzero(as_tuple=True)
    others = members[members != group.medoid]
    drawn = torch.randperm(len(others), generator=torch.Generator().manual_seed(group.cluster))[: _EXAMPLES - 1]
    return [group.medoid, *others[drawn].tolist()]


def _eigenvalues(pen: ImageDraw.ImageDraw, left: int, top: int, right: int, clusters: Clusters) -> None:
    """Draw the eigenvalues as dots from 0 to 1, and the gap that proposes the number of clusters."""
    pen.line((left, top, right, top), _RULE)
    pen.text((left, top + 22), f"{clusters.proposed} clusters proposed", _INK, _font(18), anchor="lt")
    pen.text((left, top + 50), "by the widest gap of the Laplacian's", _SOFT, _font(14), anchor="lt")
    pen.text((left, top + 70), "eigenvalues, after the first", _SOFT, _font(14), anchor="lt")
    start, y = left + _WORDS, top + 52
    values = [start + float(v) * (right - start) for v in clusters.eigenvalues]
    pen.line((start, y, right, y), _RULE)
    if clusters.proposed < len(values):
        before, after = values[clusters.proposed - 1], values[clusters.proposed]
        pen.line((before, y, after, y), _HOT, 3)
    for number, x in enumerate(values):
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), _INK if number < clusters.proposed else _SOFT, _PAPER)
    for x, words, anchor in ((start, "0", "mt"), (right, "1", "mt")):
        pen.text((x, y + 14), words, _SOFT, _font(13), anchor=anchor)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if share < 0.1 or 0.99 < share < 1 else f"{100 * share:.0f}%"
