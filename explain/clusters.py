"""Like explanations together: the few ways in which a model comes to its answers."""

import math
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from .attribution import Attribution, scores_of
from .errors import KindError, SettingError, ShapeError

__all__ = ["ClusterSummary", "Clusters", "downsized", "spectral_clusters"]

# Rows that are pooled, or averaged, at a time: a large set of maps is never copied as a whole.
_CHUNK = 4096

# A share of affinity below which a direction is rounding error, and would be clustered as if it were real.
_NOTHING = 1e-10


@dataclass(frozen=True, eq=False)
class ClusterSummary:
    """One cluster in figures and as a map.

    Attributes
    ----------
    cluster : int
        Its number.
    size : int
        Maps in it.
    share : float
        Of all rows, those outside any cluster included; in [0, 1].
    medoid : int
        Row of its most typical map.
    mean_map : Tensor, shape (*places,), float64, on the CPU
        Mean of the magnitudes at full size, channels summed, each map scaled to sum to 1 so that each has one
        vote; sums to 1.
    label : int or None
        Most frequent label, if labels were given; the smallest of several.
    purity : float
        Share of the cluster that has this label; NaN without labels.
    """

    cluster: int
    size: int
    share: float
    medoid: int
    mean_map: Tensor = field(repr=False)
    label: int | None
    purity: float


@dataclass(frozen=True, eq=False)
class Clusters:
    """Maps in groups, the largest first; all tensors are on the CPU.

    Attributes
    ----------
    labels : Tensor, shape (rows,), int64
        Cluster of each map; -1 for a map without direction: all zero, or not finite.
    embedding : Tensor, shape (rows, k), float64
        The maps by the k smallest eigenvectors of the Laplacian, scaled to length 1: what was clustered. A row of
        zeros for a map without direction. k is the number of clusters asked for or proposed, or the number of
        elements of a map if that is less.
    eigenvalues : Tensor, shape (largest + 1,) or fewer, float64
        The smallest eigenvalues of the normalised Laplacian, ascending, in [0, 1]. As many of them are near zero
        as there are groups that have nothing in common.
    proposed : int
        Number of clusters after which the eigenvalues rise most.
    medoids : Tensor, shape (clusters,), int64
        Row of the most typical map of each cluster: that of the largest mean cosine with the others.
    sizes : Tensor, shape (clusters,), int64
        Maps in each, descending.
    """

    labels: Tensor
    embedding: Tensor
    eigenvalues: Tensor
    proposed: int
    medoids: Tensor
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.sizes)

    def __repr__(self) -> str:
        outside = int((self.labels < 0).sum())
        told = f", {outside} without direction" if outside else ""
        return f"Clusters({len(self)} of sizes {self.sizes.tolist()}{told}; {self.proposed} proposed)"

    def describe(self, scores: Tensor | Attribution, labels: Tensor | None = None) -> list[ClusterSummary]:
        """Summarise each cluster: what its maps have in common, and whether it is a class in disguise.

        Parameters
        ----------
        scores : Attribution or Tensor, shape (rows, *event), float
            The maps that were clustered.
        labels : Tensor or None, shape (rows,), integer
            Anything known of the rows to compare with: classes, or predictions.

        Returns
        -------
        list of ClusterSummary
            One per cluster, in their order.

        Raises
        ------
        KindError, ShapeError
            If the maps are not floats, or maps or labels are not one per row.

        Examples
        --------
        >>> maps = torch.tensor([[5.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -2.0]])
        >>> most, least = spectral_clusters(maps, count=2).describe(maps, torch.tensor([7, 7, 3]))
        >>> most.size, most.label, most.purity, most.mean_map
        (2, 7, 1.0, tensor([0.9167, 0.0833, 0.0000], dtype=torch.float64))
        """
        scores = scores_of(scores)
        _check_maps(scores)
        if len(scores) != len(self.labels):
            raise ShapeError(f"`scores` must be the {len(self.labels)} maps that were clustered; got {len(scores)}.")
        if labels is not None:
            if tuple(labels.shape) != (len(self.labels),):
                raise ShapeError(f"`labels` must have shape ({len(self.labels)},); got {tuple(labels.shape)}.")
            if labels.is_floating_point() or labels.is_complex():
                raise KindError(f"`labels` must be class numbers, integers; got {labels.dtype}.")
        summaries = []
        for cluster, size in enumerate(self.sizes.tolist()):
            (members,) = (self.labels == cluster).nonzero(as_tuple=True)
            total = torch.zeros((), dtype=torch.float64)
            for part in torch.split(members, _CHUNK):
                shares = _magnitude(scores[part.to(scores.device)]).cpu().double()
                total = total + (shares / shares.flatten(1).sum(1).view(-1, *[1] * (shares.ndim - 1))).sum(dim=0)
            label, purity = None, math.nan
            if labels is not None:
                values, counts = torch.unique(labels.cpu()[members], return_counts=True)
                label, purity = int(values[counts.argmax()]), float(counts.max()) / size
            share, medoid = size / len(self.labels), int(self.medoids[cluster])
            summaries.append(ClusterSummary(cluster, size, share, medoid, total / size, label, purity))
        return summaries


def spectral_clusters(
    scores: Tensor | Attribution, *, count: int | None = None, grid: int = 7, largest: int = 12, seed: int = 0
) -> Clusters:
    """Cluster explanations by what they point at: spectral relevance analysis, after [1]_.

    A model that is right for a wrong reason on part of its data explains these rows alike, and unlike the others:
    a Clever-Hans group shows as a cluster, without any mask or label. The magnitudes are made small by `downsized`;
    the affinity of two maps is their cosine; the clusters are those of k-means on the smallest eigenvectors of the
    affinity's normalised Laplacian, each row scaled to length 1 [2]_.

    Parameters
    ----------
    scores : Attribution or Tensor, float
        Attributions. Shape (rows, channels, height, width) or (rows, height, width) for images; (rows, features) for
        tables, or for tokens at places that mean the same in each row. Their sign is not used. Input × gradient
        separates shortcuts best; the gradient alone shows what *would* matter and hardly groups.
    count : int or None
        Number of clusters; None takes as many as the eigenvalues propose.
    grid : int
        Side of the maps that are compared, for images.
    largest : int
        Most clusters that may be proposed; at least 2.
    seed : int
        Draws the starts of k-means; the same seed gives the same clusters.

    Returns
    -------
    Clusters
        Numbered by size. Fewer than asked for, if fewer maps differ.

    Raises
    ------
    KindError
        If `scores` are not floating point.
    ShapeError
        If they have another shape, or fewer than three maps have a direction.
    SettingError
        If `count`, `grid` or `largest` is out of range.

    Notes
    -----
    Maps that are all zero, or hold NaN or an infinity, have no direction: they are left out, labelled -1, and told
    in the ``repr`` of the result. A saturated model gives such maps for the log-probability of the class that it
    predicts; ``max_logit`` is the better target here.

    Here [1]_ takes a graph of nearest neighbours instead. With the whole affinity A = X Xᵀ of unit rows X, the
    eigenvectors of the Laplacian I − D^-½ A D^-½ are the left singular vectors of D^-½ X, exactly, and the
    eigenvalues 1 − σ²: no matrix of rows × rows is made, and memory grows as that of the small maps.

    As affinities are never negative and maps overlap, the first eigenvalue stands apart whatever the maps: one
    cluster is proposed only where all maps have the same direction. So look at the eigenvalues, and at `describe`,
    before believing in two.

    References
    ----------
    .. [1] S. Lapuschkin, S. Wäldchen, A. Binder, G. Montavon, W. Samek, K.-R. Müller, "Unmasking Clever Hans
       predictors and assessing what machines really learn", Nature Communications 2019.
    .. [2] A. Y. Ng, M. I. Jordan, Y. Weiss, "On Spectral Clustering: Analysis and an Algorithm", NIPS 2001.

    Examples
    --------
    Three rows explained by the first feature or two, two by the last, one by nothing:

    >>> maps = torch.tensor([[3.0, 1, 0], [0, 0, 2], [-4, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, -9]])
    >>> found = spectral_clusters(maps)
    >>> found
    Clusters(2 of sizes [3, 2], 1 without direction; 2 proposed)
    >>> found.labels
    tensor([ 0,  1,  0, -1,  0,  1])
    """
    if largest < 2:
        raise SettingError(f"`largest` must be at least 2; got {largest}.")
    scores = scores_of(scores)
    small = downsized(scores, grid)
    peak = small.amax(dim=1)
    (rows,) = ((peak > 0) & peak.isfinite()).nonzero(as_tuple=True)
    if len(rows) < 3:
        raise ShapeError(
            f"Clusters need at least 3 maps that are finite and not all zero; got {len(rows)} among {len(scores)}. "
            "Where a model is too sure for its gradient to be seen, explain 'max_logit'."
        )
    if count is not None and not 1 <= count <= len(rows):
        raise SettingError(f"`count` must lie in [1, {len(rows)}], the maps that have a direction; got {count}.")
    # By the peak first: squares of tiny gradients would underflow.
    unit = normalize(small[rows] / peak[rows, None], dim=1)
    vectors, eigenvalues = _laplacian(unit, largest + 1)
    proposed = _eigengap(eigenvalues, largest)
    points = normalize(vectors[:, : count or proposed], dim=1, eps=_NOTHING)
    groups = _by_size(_kmeans(points, count or proposed, seed))
    sizes = torch.bincount(groups)
    labels = torch.full((len(scores),), -1)
    labels[rows] = groups
    embedding = torch.zeros(len(scores), points.shape[1], dtype=torch.float64)
    embedding[rows] = points
    return Clusters(labels, embedding, eigenvalues, proposed, rows[_medoids(unit, groups, len(sizes))], sizes)


def downsized(scores: Tensor | Attribution, grid: int = 7) -> Tensor:
    """Make maps small and blind to sign, so that like ones are like element by element.

    Parameters
    ----------
    scores : Attribution or Tensor, float
        Shape (rows, channels, height, width), (rows, height, width) or (rows, features).
    grid : int
        Side of the small maps in cells; a side of an image that is shorter stays as it is.

    Returns
    -------
    Tensor, shape (rows, cells) or (rows, features), float64, on the CPU
        The magnitude, summed over channels and averaged within each cell; of features, the magnitude as it is.

    Raises
    ------
    KindError
        If `scores` are not floating point.
    ShapeError
        If they have another shape.
    SettingError
        If `grid` is less than 1.

    Examples
    --------
    >>> downsized(torch.tensor([[[1.0, -1, 0, 0], [1, -1, 0, 8]]]), grid=2)
    tensor([[1., 0., 1., 4.]], dtype=torch.float64)
    """
    scores = scores_of(scores)
    _check_maps(scores)
    if grid < 1:
        raise SettingError(f"`grid` must be at least 1 cell a side; got {grid}.")
    parts = []
    for part in torch.split(scores, _CHUNK):
        size = _magnitude(part)
        if size.ndim == 3:
            side = (min(grid, size.shape[1]), min(grid, size.shape[2]))
            size = adaptive_avg_pool2d(size[:, None], side)
        # Doubled on the CPU: not every accelerator has float64.
        parts.append(size.flatten(1).cpu().double())
    return torch.cat(parts)


def _check_maps(scores: Tensor) -> None:
    if not scores.is_floating_point():
        raise KindError(f"`scores` must be floating point, as attributions are; got {scores.dtype}.")
    if scores.ndim not in (2, 3, 4) or scores.numel() == 0:
        raise ShapeError(
            "`scores` must have shape (rows, channels, height, width), (rows, height, width) or (rows, features), "
            f"and hold something; got {tuple(scores.shape)}."
        )


def _magnitude(scores: Tensor) -> Tensor:
    """Return magnitudes without the channel axis, in single precision at least."""
    size = scores.detach().abs()
    size = size if size.dtype == torch.float64 else size.float()
    return size.sum(dim=1) if size.ndim == 4 else size


def _laplacian(unit: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the smallest eigenvectors, (rows, count), and eigenvalues, (count,), of I − D^-½ X Xᵀ D^-½."""
    degree = unit @ unit.sum(dim=0)
    vectors, singular, _ = torch.linalg.svd(unit / degree.sqrt()[:, None], full_matrices=False)
    # What no singular value belongs to is orthogonal to every map: an eigenvalue of 1.
    eigenvalues = torch.ones(min(count, len(unit)), dtype=torch.float64)
    known = (1 - singular[:count].square()).clamp(0, 1)
    eigenvalues[: len(known)] = known
    return vectors * (singular.square() > _NOTHING), eigenvalues


def _eigengap(eigenvalues: Tensor, largest: int) -> int:
    """Return the number of eigenvalues before the widest gap, at least 2 if there is a second direction."""
    if eigenvalues[1] > 1 - _NOTHING:
        return 1
    gaps = eigenvalues.diff()[1:largest]
    return 2 + int(gaps.argmax())


def _kmeans(points: Tensor, count: int, seed: int) -> Tensor:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # Fewer distinct maps than clusters: the result has fewer, as documented.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(count, n_init=10, random_state=seed).fit_predict(points.numpy())
    return torch.from_numpy(found).long()


def _by_size(groups: Tensor) -> Tensor:
    """Number groups anew: the largest 0, of equal ones that which comes first; none is empty."""
    sizes = torch.bincount(groups).tolist()
    first = {group: row for row, group in reversed(list(enumerate(groups.tolist())))}
    order = sorted(first, key=lambda group: (-sizes[group], first[group]))
    number = torch.zeros(len(sizes), dtype=torch.int64)
    number[order] = torch.arange(len(order))
    return number[groups]


def _medoids(unit: Tensor, groups: Tensor, count: int) -> Tensor:
    """Return the row of each group with the largest sum of cosines to the rows of its group."""
    medoids = []
    for group in range(count):
        (members,) = (groups == group).nonzero(as_tuple=True)
        medoids.append(members[(unit[members] @ unit[members].sum(dim=0)).argmax()])
    return torch.stack(medoids)
