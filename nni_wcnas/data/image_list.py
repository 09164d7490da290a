"""List the test images in the order that files of groups and of difficulty count them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from nni_wcnas.atomic import write_atomically

if TYPE_CHECKING:
    from .image_data import ImageData

__all__ = ['write_image_list']


def write_image_list(data: ImageData, path: Path) -> None:
    """Write a CSV file with a row for each test image.

    Parameters
    ----------
    data
        The data set.
    path
        The file to write. Its columns are ``index``, the number that files of groups and of difficulty use;
        ``image``, the path of the image's file, or again its index in the test set of images in memory; and
        ``class``, the name.
    """
    files = [str(file) for file in data.images.test.files()]
    text = io.StringIO()
    # The dialect's own line ends are those of Windows.
    rows = csv.writer(text, lineterminator='\n')
    rows.writerow(('index', 'image', 'class'))
    for index, label in enumerate(data.images.test.labels.tolist()):
        rows.writerow((index, files[index] if files else index, data.class_names[label]))
    write_atomically(path, text.getvalue().encode(errors='surrogateescape'))
