"""Pictures that look like a stroke: those that show the same patch in its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from columns import Column
from columns.column import read_columns
from columns.values import DenseValues, ImageValues, Values

from .errors import FeedbackError
from .feedback import ImageRegion
from .reaching import Part

__all__ = ["WIDEST", "Patch", "Pictures", "patch_of"]

Likeness: TypeAlias = NDArray[np.float32]  # of each patch and picture, shape (patches, rows)

_AT_ONCE = 1024

# How far, in pixels, one looks for the edge of a stroke that shows one even shade.
WIDEST = 3

# Pictures that match, and others, below which the extent of a stroke stays as it was painted.
_ENOUGH = 20

# Below this much contrast, relative to its size, a patch shows nothing to be recognised by: rounding would be.
_FLAT = 1e-4


@dataclass(frozen=True, eq=False)
class Patch:
    """What a stroke and a margin around it show, blind to brightness and contrast.

    Attributes
    ----------
    places : ndarray, shape (height, width), bool
        Which pixels.
    pattern : ndarray, shape (pixels · channels,), float32
        What they show: mean 0 and length 1; all zero if that is nothing.
    """

    places: NDArray[np.bool_]
    pattern: NDArray[np.float32]

    def fits(self, pictures: NDArray[np.float32]) -> bool:
        """Say whether pictures, (rows, height, width, channels), are of the size and the channels of this patch's."""
        return pictures.shape[1:3] == self.places.shape and self.places.sum() * pictures.shape[3] == len(self.pattern)

    def likeness(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the correlation of each picture with the patch, in its place.

        Parameters
        ----------
        pictures : ndarray, shape (rows, height, width, channels), float32

        Returns
        -------
        ndarray, shape (rows,), float32
            In [-1, 1]; 0 where a picture shows nothing there.
        """
        return np.asarray(_standard(pictures[:, self.places]) @ self.pattern, np.float32)


def patch_of(picture: NDArray[np.float32], region: NDArray[np.bool_], context: int) -> Patch:
    """Return what a stroke shows.

    Parameters
    ----------
    picture : ndarray, shape (height, width, channels), float32
        That the stroke is on.
    region : ndarray, shape (height, width), bool
        The stroke.
    context : int
        Pixels around it that belong to the patch: the edge of a mark tells more than its inside, which may be as
        even as the background. More, up to `WIDEST`, where so few show one even shade.

    Returns
    -------
    Patch

    Examples
    --------
    A bright mark in a corner is found where it is darker, not where there is none:

    >>> mark = np.zeros((4, 4), bool)
    >>> mark[:2, :2] = True
    >>> bright, dark, none = (np.float32(mark[:, :, None] * grey) for grey in (1.0, 0.2, 0.0))
    >>> patch_of(bright, mark, context=1).likeness(np.stack([dark, none])).round(3)
    array([1., 0.], dtype=float32)
    """
    for wider in range(context, max(context, WIDEST) + 1):
        places = _widened(region, wider)
        pattern = _standard(picture[None][:, places])[0]
        if pattern.any():
            break
    return Patch(places, pattern)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures with strokes on some of them.

    Attributes
    ----------
    column : Column
        The pictures. Those of another size than a stroke's, or with other channels, are not like it.
    painted : ndarray, shape (strokes,), int64
        The row that each stroke is on.
    context : int
        Pixels around a stroke that belong to its patch.
    likeness : float
        Least correlation of pictures that match, in (0, 1].

    Raises
    ------
    FeedbackError
        If a setting is out of range.
    """

    column: Column
    painted: NDArray[np.int64]
    context: int
    likeness: float

    def __post_init__(self) -> None:
        if not 0 < self.likeness <= 1 or self.context < 0:
            raise FeedbackError(
                "`likeness` must lie in (0, 1] and `context` be pixels, at least 0; "
                f"got {self.likeness} and {self.context}."
            )

    def patches(self, regions: Sequence[ImageRegion]) -> list[Patch]:
        """Return what strokes show.

        Raises
        ------
        FeedbackError
            If a stroke is not of the size of its picture, or none shows anything to be recognised by.
        """
        (values,) = read_columns([self.column[self.painted]])
        on: dict[tuple[int, tuple[int, int]], NDArray[np.float32]] = {}
        for size in {(region.height, region.width) for region in regions}:
            for rows, several in _sized(values, size):
                on |= {(row, size): picture for row, picture in zip(rows.tolist(), several, strict=True)}
        shown = [on.get((number, (region.height, region.width))) for number, region in enumerate(regions)]
        for row, region, picture in zip(self.painted, regions, shown, strict=True):
            if picture is None:
                raise FeedbackError(
                    f"A stroke must be of the size of its picture; that on row {row} is of {region.extent}, and its "
                    "picture is not. Say which column was painted on: column=."
                )
        found = [
            patch_of(picture, region.mask(), self.context)
            for picture, region in zip(shown, regions, strict=True)
            if picture is not None
        ]
        if not any(patch.pattern.any() for patch in found):
            raise FeedbackError(
                f"A stroke is recognised by what it shows, or by its edge; none of these {len(found)} shows more than "
                "one even shade. Widen `context`, or go by to='cluster' or to='all'."
            )
        return found

    def matched(self, patches: Sequence[Patch]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], Likeness]]:
        """Yield row numbers, their pictures, (rows, height, width, channels), and how like each patch they are."""
        for start in range(0, len(self.column), _AT_ONCE):
            (values,) = read_columns([self.column[start : start + _AT_ONCE]])
            for size in dict.fromkeys(patch.places.shape for patch in patches):
                for rows, pictures in _sized(values, size):
                    near = np.zeros((len(patches), len(rows)), np.float32)
                    for number, patch in enumerate(patches):
                        if patch.fits(pictures):
                            near[number] = patch.likeness(pictures)
                    yield start + rows, pictures, near

    def parts(self, regions: Sequence[ImageRegion], rest: str) -> Iterator[Part]:
        """Yield that a stroke reaches the pictures that match it; and all strokes, if asked, what matches none."""
        patches = self.patches(regions)
        for rows, pictures, near in self.matched(patches):
            hits = near >= self.likeness
            if rest == "all":
                of_its_size = np.array([patch.places.shape == pictures.shape[1:3] for patch in patches])
                hits |= ~hits.any(axis=0) & of_its_size[:, None]
            yield rows, hits, near

    def settled(self, regions: Sequence[ImageRegion]) -> list[ImageRegion]:
        """Settle the extent of each stroke on what the pictures that match it have in common there.

        A hand is not exact. A pixel belongs to the mark if the pictures that match differ there from the others: the
        difference of means, in standard deviations, is at least half of the largest in the patch. A stroke that too
        few pictures match stays as it is, and one of which little would be left, or which would move away.

        Parameters
        ----------
        regions : sequence of ImageRegion
            The strokes.

        Returns
        -------
        list of ImageRegion
            One for each.
        """
        patches = self.patches(regions)
        sums = [_Sums(int(patch.places.sum())) for patch in patches]
        for _, pictures, near in self.matched(patches):
            for patch, total, like in zip(patches, sums, near, strict=True):
                if patch.pattern.any() and patch.fits(pictures):
                    total.add(pictures[:, patch.places], like >= self.likeness)
        return [_settled(*each) for each in zip(regions, patches, sums, strict=True)]


class _Sums:
    """Counts, sums and sums of squares of the pixels of a patch, of pictures that match and of the others."""

    def __init__(self, pixels: int) -> None:
        self.count = np.zeros(2)
        self.total = np.zeros((2, 2, pixels, 1))

    def add(self, shown: NDArray[np.float32], matches: NDArray[np.bool_]) -> None:
        for side, some in enumerate((shown[matches], shown[~matches])):
            self.count[side] += len(some)
            values = some.astype(np.float64)
            self.total = self.total + np.zeros((1, 1, 1, shown.shape[2]))
            self.total[side] += np.stack([values.sum(axis=0), np.square(values).sum(axis=0)])

    def differences(self) -> NDArray[np.float64]:
        """Return how many standard deviations the two lie apart at each pixel, in the channel where it is most."""
        mean, square = self.total.swapaxes(0, 1) / self.count[:, None, None]
        spread = np.sqrt((square - np.square(mean)).clip(0).mean(axis=0))
        apart = np.abs(mean[0] - mean[1])
        # A mark that is always the same on a ground that is always the same lies infinitely far apart: as far as it is.
        return np.asarray((apart / np.maximum(spread, 1e-2 * max(apart.max(), 1e-30))).max(axis=1))


def _settled(region: ImageRegion, patch: Patch, sums: _Sums) -> ImageRegion:
    if sums.count[0] < _ENOUGH or sums.count[1] < _ENOUGH:
        return region
    apart = sums.differences()
    mask, stroke = np.zeros(patch.places.shape, np.bool_), region.mask()
    mask[patch.places] = apart >= apart.max() / 2
    both = (mask & stroke).sum()
    moved, eaten = both < mask.sum() / 2, both < stroke.sum() / 5
    return region if moved or eaten else ImageRegion.from_mask(mask)


def _standard(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return patches (rows, pixels, channels), flattened, with mean 0 and length 1; what is even is zero."""
    flat = np.nan_to_num(patches.reshape(len(patches), -1), posinf=0.0, neginf=0.0)
    centred = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    even = length <= _FLAT * np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.divide(centred, length, out=np.zeros_like(centred), where=~even), np.float32)


def _widened(region: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """Return a mask with all pixels that are not farther than `by` along either axis."""
    wide = torch.from_numpy(region.astype(np.float32))[None, None]
    return np.asarray(torch.nn.functional.max_pool2d(wide, 2 * by + 1, 1, by)[0, 0].numpy() > 0)


def _sized(values: Values, size: tuple[int, ...]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield which rows are pictures of a size, and these, (rows, height, width, channels); null ones are left out."""
    if isinstance(values, DenseValues):
        data = values.data if values.data.ndim == 4 else values.data[..., None]
        if not isinstance(values, ImageValues) and data.ndim == 4 and data.shape[1:3] != size:
            data = np.moveaxis(data, 1, -1)  # channels first, as models take them
        valid = values.valid()
        rows = np.arange(len(data)) if valid is None else np.flatnonzero(valid)
        if data.ndim == 4 and data.shape[1:3] == size and len(rows):
            yield rows, data[rows].astype(np.float32)
        return
    several: dict[int, list[tuple[int, NDArray[np.float32]]]] = {}
    for row, picture in enumerate(values.rows()):
        if picture is not None:
            array = np.asarray(picture, np.float32)
            array = array if array.ndim == 3 else array[..., None]
            if array.shape[:2] == size:
                several.setdefault(array.shape[2], []).append((row, array))
    for some in several.values():
        yield np.array([row for row, _ in some]), np.stack([array for _, array in some])
