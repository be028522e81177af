import math

import numpy as np
import pytest
import torch

from explain import KindError, SettingError, ShapeError
from explain.clusters import downsized, spectral_clusters


def pointing_at(places, rows=40, width=12, noise=0.1, seed=0):
    """Maps in groups: each group points at one place; all carry some noise. Returns maps and groups, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    maps = noise * torch.rand(len(places) * rows, width, generator=generator, dtype=torch.float64)
    groups = torch.arange(len(places)).repeat_interleave(rows)
    maps[torch.arange(len(maps)), torch.tensor(places)[groups]] += 1
    maps = maps * torch.randn(len(maps), 1, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(maps), generator=generator)
    return maps[order], groups[order]


def agree(found, groups):
    """Whether two groupings are the same but for the numbers."""
    pairs = set(zip(found.tolist(), groups.tolist(), strict=True))
    return len(pairs) == len(set(found.tolist())) == len(set(groups.tolist()))


def plain_laplacian(maps):
    """The normalised Laplacian of cosine affinities, entry by entry."""
    rows = [[abs(float(value)) for value in row] for row in maps]
    lengths = [math.sqrt(sum(value**2 for value in row)) for row in rows]
    affinity = [
        [sum(a * b for a, b in zip(one, two, strict=True)) / (lengths[i] * lengths[j]) for j, two in enumerate(rows)]
        for i, one in enumerate(rows)
    ]
    degrees = [sum(row) for row in affinity]
    return np.array(
        [
            [float(i == j) - affinity[i][j] / math.sqrt(degrees[i] * degrees[j]) for j in range(len(rows))]
            for i in range(len(rows))
        ]
    )


@pytest.mark.parametrize(("rows", "width"), [(9, 6), (3, 15)])  # more rows than elements, and fewer
def test_eigenvalues_embedding_and_labels_are_those_of_the_dense_laplacian(rows, width):
    from sklearn.cluster import KMeans

    maps, groups = pointing_at([0, 2, 5], rows=rows, width=width, noise=0.4, seed=1)
    found = spectral_clusters(maps, count=3, largest=5)
    values, vectors = np.linalg.eigh(plain_laplacian(maps))
    # With fewer elements than rows, an eigenvalue of 1 per row that is left.
    np.testing.assert_allclose(found.eigenvalues, values[:6], atol=1e-12)
    slow = vectors[:, :3] / np.linalg.norm(vectors[:, :3], axis=1, keepdims=True)
    # Eigenvectors are known but for a rotation among equals and signs: their inner products are not.
    np.testing.assert_allclose(found.embedding @ found.embedding.T, slow @ slow.T, atol=1e-10)
    assert agree(found.labels, torch.from_numpy(KMeans(3, n_init=10, random_state=5).fit_predict(slow)))
    assert agree(found.labels, groups)


def test_groups_without_overlap_have_an_eigenvalue_of_zero_each():
    maps, groups = pointing_at([0, 1, 2, 3], noise=0.0)
    found = spectral_clusters(maps)
    torch.testing.assert_close(found.eigenvalues[:5], torch.tensor([0.0, 0, 0, 0, 1], dtype=torch.float64))
    assert found.proposed == 4
    assert agree(found.labels, groups)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_eigengap_proposes_the_number_of_groups(count):
    maps, groups = pointing_at(list(range(count)), noise=0.3)
    found = spectral_clusters(maps)
    assert found.proposed == len(found) == count
    assert agree(found.labels, groups)


def test_no_more_than_the_largest_number_is_proposed():
    maps, _ = pointing_at(list(range(6)), noise=0.0)
    found = spectral_clusters(maps, largest=3)
    assert found.proposed <= 3
    assert len(found.eigenvalues) == 4


def test_maps_of_one_direction_are_one_cluster():
    maps = torch.tensor([[1.0, 2.0]]) * torch.arange(1, 8)[:, None]
    assert repr(spectral_clusters(maps)) == "Clusters(1 of sizes [7]; 1 proposed)"
    # Asked for more than there are: no cluster is made of rounding errors.
    assert spectral_clusters(maps, count=3).sizes.tolist() == [7]


def test_neither_the_sign_nor_the_loudness_of_a_map_changes_its_cluster():
    maps, _ = pointing_at([0, 4], rows=10)
    louder = maps * torch.logspace(-150, 150, len(maps), dtype=torch.float64)[:, None] * -1
    one, two = spectral_clusters(maps), spectral_clusters(louder)
    assert torch.equal(one.labels, two.labels)
    torch.testing.assert_close(one.eigenvalues, two.eigenvalues)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_a_map_without_direction_gets_no_cluster_and_changes_no_other(value):
    maps, _ = pointing_at([0, 4], rows=10)
    found = spectral_clusters(maps)
    with_one = spectral_clusters(torch.cat([maps[:3], torch.full((1, 12), value), maps[3:]]))
    kept = torch.arange(21) != 3
    assert with_one.labels[3] == -1
    assert with_one.embedding[3].tolist() == [0, 0]
    assert torch.equal(with_one.labels[kept], found.labels)
    assert torch.equal(with_one.embedding[kept], found.embedding)
    assert torch.equal(with_one.eigenvalues, found.eigenvalues)
    assert (with_one.medoids != 3).all()
    assert "1 without direction" in repr(with_one)


def test_one_nan_in_an_image_leaves_out_that_image_only():
    images = torch.zeros(6, 1, 8, 8)
    images[:3, :, :4], images[3:, :, 4:] = 1, 1
    images[1, 0, 7, 7] = math.nan
    assert spectral_clusters(images, count=2, grid=2).labels.tolist() == [1, -1, 1, 0, 0, 0]


def test_clusters_are_numbered_by_size_and_equal_ones_by_their_first_row():
    places = [0, 1, 2, 1, 2, 2, 0]
    maps = torch.eye(3)[places]
    found = spectral_clusters(maps, count=3)
    assert found.labels.tolist() == [1, 2, 0, 2, 0, 0, 1]
    assert found.sizes.tolist() == [3, 2, 2]


def test_a_medoid_has_the_largest_mean_cosine_with_its_cluster():
    maps, _ = pointing_at([0, 4, 7], rows=15, noise=0.5)
    found = spectral_clusters(maps, count=3)
    for cluster, medoid in enumerate(found.medoids.tolist()):
        members = [row for row, label in enumerate(found.labels.tolist()) if label == cluster]
        cosines = {
            row: sum(float(torch.cosine_similarity(maps[row].abs(), maps[other].abs(), dim=0)) for other in members)
            for row in members
        }
        assert medoid == max(cosines, key=cosines.get)


def test_images_are_summed_over_channels_and_averaged_over_cells():
    scores = torch.randn(3, 2, 6, 4, generator=torch.Generator().manual_seed(0))
    small = downsized(scores, grid=2)
    assert (small.shape, small.dtype) == ((3, 4), torch.float64)
    for row in range(3):
        for cell, (down, right) in enumerate([(0, 0), (0, 2), (3, 0), (3, 2)]):
            pixels = [
                abs(float(scores[row, c, down + y, right + x])) for c in range(2) for y in range(3) for x in range(2)
            ]
            assert float(small[row, cell]) == pytest.approx(sum(pixels) / 6)
    torch.testing.assert_close(downsized(scores[:, :1], 3), downsized(scores[:, 0], 3))


def test_a_side_shorter_than_the_grid_and_features_stay_as_they_are():
    assert downsized(torch.randn(2, 3, 20), grid=7).shape == (2, 3 * 7)
    features = torch.tensor([[-1.0, 2.0, 0.0]])
    assert downsized(features, grid=1).tolist() == [[1, 2, 0]]


def test_half_precision_and_attached_maps_are_taken():
    maps, groups = pointing_at([0, 4], rows=5)
    found = spectral_clusters(maps.half().requires_grad_())
    assert agree(found.labels, groups)
    assert not found.embedding.requires_grad


def test_the_same_seed_gives_the_same_clusters_and_leaves_the_global_generators_alone():
    maps = torch.rand(60, 8, generator=torch.Generator().manual_seed(0))
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (the one that scikit-learn could use)
    one, two = (spectral_clusters(maps, count=6, seed=2) for _ in range(2))
    assert torch.equal(one.labels, two.labels)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002


def test_many_rows_need_no_matrix_of_rows_by_rows():
    # The affinities alone would take 320 GB.
    maps, groups = pointing_at([0, 3], rows=100_000, width=6)
    assert agree(spectral_clusters(maps, count=2).labels, groups)


def test_rows_may_stand_in_any_order():
    maps, _ = pointing_at([0, 2, 4], rows=9, noise=0.3)
    order = torch.randperm(len(maps), generator=torch.Generator().manual_seed(3))
    assert agree(spectral_clusters(maps[order]).labels, spectral_clusters(maps).labels[order])


def test_a_description_says_what_the_maps_of_a_cluster_share():
    images = torch.zeros(6, 2, 4, 4)
    images[:4, :, 0, 0] = torch.tensor([1.0, -100, 3, 4])[:, None]
    images[3, :, 0, 1] = -4
    images[4:, 1, 3, 3] = 5
    images = torch.cat([images, torch.zeros(2, 2, 4, 4)])
    found = spectral_clusters(images, count=2, grid=4)
    first, second = found.describe(images, torch.tensor([-1, -1, -1, 0, 5, 5, 9, 9]))
    assert (first.cluster, first.size, first.share, first.label, first.purity) == (0, 4, 0.5, -1, 0.75)
    assert (second.cluster, second.size, second.share, second.label, second.purity) == (1, 2, 0.25, 5, 1.0)
    # The loud map has one vote; the fourth gives half of its own to its second pixel.
    assert first.mean_map.shape == (4, 4)
    assert first.mean_map[0, :2].tolist() == [0.875, 0.125]
    assert first.mean_map.sum() == second.mean_map[3, 3] == 1
    assert [first.medoid, second.medoid] == found.medoids.tolist()


def test_without_labels_there_is_no_purity():
    maps, _ = pointing_at([0, 2], rows=4)
    summary = spectral_clusters(maps).describe(maps)[0]
    assert summary.label is None
    assert math.isnan(summary.purity)


@pytest.mark.parametrize(
    ("scores", "error", "words"),
    [
        (torch.ones(4, 3, dtype=torch.int64), KindError, "floating point.*got torch.int64"),
        (torch.ones(4), ShapeError, r"got \(4,\)"),
        (torch.ones(4, 0), ShapeError, r"got \(4, 0\)"),
        (torch.ones(0, 3), ShapeError, r"got \(0, 3\)"),
        (torch.ones(1, 3), ShapeError, "at least 3 maps.*got 1 among 1"),
        (torch.tensor([[1.0, 2], [3, 4], [0, 0], [math.nan, 1]]), ShapeError, "got 2 among 4.*max_logit"),
    ],
)
def test_what_cannot_be_clustered_is_refused(scores, error, words):
    with pytest.raises(error, match=words):
        spectral_clusters(scores)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"count": 0}, r"`count` must lie in \[1, 8\].*got 0"),
        ({"count": 9}, "got 9"),
        ({"largest": 1}, "`largest` must be at least 2; got 1"),
        ({"grid": 0}, "`grid` must be at least 1 cell a side; got 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings, words):
    maps, _ = pointing_at([0, 2], rows=4)
    with pytest.raises(SettingError, match=words):
        spectral_clusters(maps, **settings)


def test_a_description_needs_the_maps_that_were_clustered_and_one_class_number_each():
    maps, groups = pointing_at([0, 2], rows=4)
    found = spectral_clusters(maps)
    with pytest.raises(ShapeError, match="the 8 maps that were clustered; got 7"):
        found.describe(maps[:7])
    with pytest.raises(ShapeError, match=r"`labels` must have shape \(8,\); got \(7,\)"):
        found.describe(maps, groups[:7])
    with pytest.raises(KindError, match="integers; got"):
        found.describe(maps, groups.double())
