import gzip
import struct

import numpy as np
import pytest

from workbench.datasets.idx import read_idx, read_idx_split
from workbench.errors import DataError


def idx_bytes(array, kind=8):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 5, 4), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, images):
    folder = tmp_path / "with space"
    folder.mkdir()
    labels = np.arange(7, dtype=np.uint8)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    (folder / "train-labels.idx1-ubyte").write_bytes(idx_bytes(labels))
    return folder


def test_gzipped_and_raw_files_are_read_under_their_usual_names(folder, images):
    read, labels = read_idx_split(folder, "train")
    assert np.array_equal(read, images)
    assert labels.tolist() == list(range(7))
    assert read.flags.writeable


def test_a_missing_directory_is_named_with_the_way_out(tmp_path):
    with pytest.raises(DataError, match=r"nowhere' is not one\. Download the four files"):
        read_idx_split(tmp_path / "nowhere", "train")


def test_a_missing_file_is_named_with_every_name_looked_for(folder):
    with pytest.raises(DataError, match=r"with space' must hold one of t10k-images-idx3-ubyte\.gz, .*Download"):
        read_idx_split(folder, "test")


def test_an_unknown_split_is_refused(folder):
    with pytest.raises(DataError, match="one of train, test; got 'val'"):
        read_idx_split(folder, "val")


def test_images_and_labels_must_be_equally_many(folder):
    (folder / "train-labels.idx1-ubyte").write_bytes(idx_bytes(np.arange(6, dtype=np.uint8)))
    with pytest.raises(DataError, match=r"has 7 and 'train-labels\.idx1-ubyte' 6"):
        read_idx_split(folder, "train")


def test_images_in_place_of_labels_are_noticed(folder, images):
    (folder / "train-labels.idx1-ubyte").write_bytes(idx_bytes(images))
    with pytest.raises(DataError, match="must have 1 axes; it has 3"):
        read_idx_split(folder, "train")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-3], "must hold 140 bytes .* it holds 137"),
        (lambda data: data + b"x", "it holds more"),
        (lambda data: data[:9], "ends within its header"),
        (lambda data: b"", "begins with nothing"),
        (lambda data: b"\x89PNG" + data, "begins with 89 50 4e 47"),
        (lambda data: bytes([0, 0, 13]) + data[3:], r"unsigned bytes \(type 8\); its type is 13"),
        (lambda data: data[:4] + b"\xff" * 12 + data[16:], "not credible"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, images, damage, message):
    for name, pack in (("raw", bytes), ("packed.gz", gzip.compress)):
        path = tmp_path / name
        path.write_bytes(pack(damage(idx_bytes(images))))
        with pytest.raises(DataError, match=message) as caught:
            read_idx(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("damage", [lambda packed: packed[:-20], lambda packed: b"no gzip" + packed])
def test_a_damaged_archive_is_named(tmp_path, images, damage):
    path = tmp_path / "broken.gz"
    path.write_bytes(damage(gzip.compress(idx_bytes(images))))
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(path)


def test_every_flipped_byte_is_read_or_refused_but_never_crashes(tmp_path, images):
    packed = gzip.compress(idx_bytes(images))
    path = tmp_path / "flipped.gz"
    refused = 0
    for place in range(len(packed)):
        path.write_bytes(packed[:place] + bytes([packed[place] ^ 0x55]) + packed[place + 1 :])
        try:
            read_idx(path)
        except DataError:
            refused += 1
    assert refused > len(packed) // 2


def test_a_missing_single_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"No file '.*gone'"):
        read_idx(tmp_path / "gone")
