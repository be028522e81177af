"""Pictures as a page takes them: each row's own, in order, encoded anew only where that is needed."""

import io

import numpy as np
from PIL import Image

from columns import ImageColumn
from workbench.widgets.thumbnails import thumbnails


def jpeg(shade, height):
    file = io.BytesIO()
    Image.new("RGB", (300, height), (shade, shade, shade)).save(file, "JPEG")
    return file.getvalue()


def test_small_files_are_sent_as_they_are_among_others_that_are_made_smaller():
    files = [jpeg(10, 400), jpeg(90, 100), b"no picture", None, jpeg(170, 100), jpeg(250, 500)]
    sent = thumbnails(ImageColumn(files), [5, 4, 3, 2, 1, 0, 1], 128)
    parts = [sent.data[begin:end] for begin, end in zip(sent.offsets, sent.offsets[1:], strict=False)]
    assert sent.types == ["image/jpeg" if part else None for part in parts]
    assert [parts[1], parts[4], parts[6]] == [files[4], files[1], files[1]]
    shown = [Image.open(io.BytesIO(part)) if part else None for part in parts]
    assert [one and one.height for one in shown] == [128, 100, None, None, 100, 128, 100]
    shades = [round(np.asarray(one).mean(), -1) for one in shown if one]
    assert shades == [250, 170, 90, 10, 90]
