"""Find the parts, classes and image files of a folder as people and data set sites lay them out.

Two layouts are read, below any number of folders that hold nothing but one folder::

    ROOT/<class>/...                    one part
    ROOT/{train,training}/<class>/...   two parts, names in any case; the other is test or testing, else val, valid or
    ROOT/{test,testing}/<class>/...     validation

A folder of such a name is a part only if it holds folders itself; a folder of images called ``train`` is a class.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import features

from .error import DataError

__all__ = ['SUFFIXES', 'find_parts', 'list_class_files', 'refuse_missing_classes', 'say_left_out']

SUFFIXES = frozenset({'.bmp', '.gif', '.jfif', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp'}) | (
    # An option of Pillow's build; without it these files are counted among what is left out.
    frozenset({'.avif'} if features.check('avif') else ())
)

_KINDS = {
    'train': 'train', 'training': 'train', 'test': 'test', 'testing': 'test',
    'val': 'val', 'valid': 'val', 'validation': 'val',
}
"""Kind of part by the name of its folder in lower case."""

_SYSTEM = frozenset({'__macosx', 'thumbs.db', 'desktop.ini', '@eadir', '$recycle.bin', 'lost+found'})
"""Names, in lower case, that operating systems and archivers add; hidden names are left out too."""

_NAMED = 10
"""How many names a message lists."""


def find_parts(root: Path, left_out: Counter[str]) -> tuple[Path, Path | None]:
    """Find the folders whose folders are the classes.

    Parameters
    ----------
    root
        An existing folder.
    left_out
        Counts what is not read, by its kind; added to.

    Returns
    -------
    tuple of Path
        Those of the training and of the test set; the second is None where there is one part only.

    Raises
    ------
    DataError
        If one of two parts is missing, has no class folders, or stands twice.
    """
    root = _unnested(root)
    folders = _folders(root)
    named: dict[str, Path] = {}  # Parts by kind, with class folders.
    flat: dict[str, Path] = {}
    for folder in folders:
        kind = _KINDS.get(folder.name.lower())
        if kind is None:
            continue
        # Without class folders: a class, or ImageNet's test images.
        if not _folders(folder):
            flat[kind] = folder
        elif kind in named:
            raise DataError(
                f'{root} has both {named[kind].name} and {folder.name}, which mean the same part; keep one of them.'
            )
        else:
            named[kind] = folder
    others = [folder for folder in folders if folder.name.lower() not in _KINDS]
    held_out = named.get('test') or named.get('val')
    if 'train' in named and held_out is not None:
        left_out['folder beside the parts'] += len(others)
        return _unnested(named['train']), _unnested(held_out)
    # Beside names that are no parts, a folder called train or test is one more class.
    if not others and (named or len(flat) > 1):
        raise DataError(_incomplete(root, folders, named))
    return root, None


def list_class_files(folder: Path, left_out: Counter[str]) -> dict[str, list[Path]]:
    """List the image files of each class folder.

    Parameters
    ----------
    folder
        The folder that holds one folder for each class.
    left_out
        Counts what is not read, by its kind; added to.

    Returns
    -------
    dict
        Paths by class, both sorted by name. Folders inside a class folder belong to the class.

    Raises
    ------
    DataError
        If a class has no image, or there are fewer than two classes.
    """
    found = {}
    for child in _folders(folder):
        here: Counter[str] = Counter()
        files = sorted(_images(child, here))
        if not files:
            seen = f' ({_counted(here)})' if here else ''
            raise DataError(f'The class folder {child} holds no images{seen}; add some or remove it.')
        found[child.name] = files
        left_out.update(here)
    if len(found) < 2:
        raise DataError(f'The image folder {folder} has {len(found)} class folders; a classifier needs at least two.')
    return found


def refuse_missing_classes(train: dict[str, list[Path]], test: dict[str, list[Path]], roots: tuple[Path, Path]) -> None:
    """Refuse parts with different classes.

    Raises
    ------
    DataError
        With the names of the classes that either lacks.
    """
    lacks = [
        f'{root} lacks {_listed(missing)}'
        for root, missing in ((roots[0], sorted(set(test) - set(train))), (roots[1], sorted(set(train) - set(test))))
        if missing
    ]
    if lacks:
        raise DataError(f'The parts have different classes: {" and ".join(lacks)}; give both the same class folders.')


def say_left_out(left_out: Counter[str]) -> str:
    """Say in a line what of a folder is not read; an empty string where all is."""
    return f'left out: {_counted(left_out)}' if +left_out else ''


def _incomplete(root: Path, folders: list[Path], named: dict[str, Path]) -> str:
    """Say what of two parts is missing, and what was seen."""
    seen = _listed([folder.name for folder in folders])
    if not named:
        return f'{root} has the folders {seen}, but none of them has class folders; give each a folder for each class.'
    there = next(iter(named.values()))
    missing = 'test' if 'train' in named else 'train'
    return (
        f'{root} has a folder {there.name} but no folder {missing} with class folders (seen: {seen}); add it, or pass '
        f'{there} to have about a fifth of it held out.'
    )


def _is_system_name(name: str) -> bool:
    """Tell whether a file or folder is hidden, or made by an operating system or an archiver."""
    return name.startswith('.') or name.lower() in _SYSTEM


def _folders(folder: Path) -> list[Path]:
    """List the folders in a folder by name, without hidden ones and those of the system."""
    return sorted(path for path in folder.iterdir() if not _is_system_name(path.name) and path.is_dir())


def _unnested(folder: Path) -> Path:
    """Go down through folders that hold only one folder, which holds folders itself: what unpacking leaves."""
    while True:
        inner = _folders(folder)
        if len(inner) != 1 or not _folders(inner[0]) or inner[0].name.lower() in _KINDS:
            return folder
        folder = inner[0]


def _images(folder: Path, left_out: Counter[str]) -> Iterator[Path]:
    """Yield the image files below a folder, and count all others."""
    # scandir knows files from folders without asking the disk for each, which counts for a million images.
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()
            if _is_system_name(entry.name):
                left_out['hidden or system name'] += 1
            elif entry.is_dir(follow_symlinks=False):
                yield from _images(Path(entry.path), left_out)
            elif not entry.is_file():
                broken = entry.is_symlink() and not os.path.exists(entry.path)
                left_out['broken link' if broken else 'special file or linked folder'] += 1
            elif suffix in SUFFIXES:
                yield Path(entry.path)
            else:
                left_out[suffix or 'file without a suffix'] += 1


def _counted(left_out: Counter[str]) -> str:
    """List counts and kinds, the most frequent first."""
    return ', '.join(
        f'{count} {kind}' + ('s' if count > 1 and not kind.startswith('.') else '')
        for kind, count in left_out.most_common() if count
    )


def _listed(names: list[str]) -> str:
    """List the first names, and how many more there are."""
    more = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
    return ', '.join(names[:_NAMED]) + more
