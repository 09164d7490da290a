"""Know data again: what a run keeps of its data, and what has changed since.

Of images in files the identity covers relative names and sizes, not bytes: listing ImageNet's 1.3 million files takes
seconds to minutes, reading them an hour. So a file whose pixels were replaced at the same name and size is not noticed.
Of images in memory it covers all bytes. The place of the data does not count: they can be moved.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_wcnas.atomic import write_atomically

from .error import DataError

if TYPE_CHECKING:
    from .image_data import ImageData
    from .store import ImageStore

__all__ = ['IDENTITY_FILE', 'ClassContent', 'DataIdentity', 'check_identity', 'identify', 'keep_identity']

IDENTITY_FILE = 'data.json'
"""Name of the file in a run's folder that holds the identity of its data."""

_NAMED = 3
"""How many classes with changed images a message names."""


@dataclass(frozen=True)
class ClassContent:
    """What one part of a data set holds of one class."""

    count: int
    """Images."""
    digest: str
    """Hexadecimal, of names and sizes of files, or of the bytes of images in memory, in their order."""


@dataclass(frozen=True)
class DataIdentity:
    """What makes data the same data: the classes in their order, and the images of each."""

    class_names: tuple[str, ...]
    train: tuple[ClassContent, ...]
    test: tuple[ClassContent, ...]

    def changes(self, now: DataIdentity) -> list[str]:
        """Say what is different now, in clauses such as ``class 1 was 'b' and is 'z'``; empty where nothing is."""
        before, after = self.class_names, now.class_names
        if before != after:
            gone = [repr(name) for name in before if name not in after]
            new = [repr(name) for name in after if name not in before]
            if not gone and not new:
                place = next(place for place, name in enumerate(before) if name != after[place])
                return [f'the order of the classes changed: class {place} was {before[place]!r} '
                        f'and is now {after[place]!r}']
            found = []
            if len(before) != len(after):
                found.append(f'there were {len(before)} classes and are now {len(after)}')
            if len(gone) == len(new) == 1:
                found.append(f'class {gone[0]} is now {new[0]}')
            else:
                named = ((gone, 'is missing'), (new, 'is new'))
                found += [f'{_listed(names)} {verb}' for names, verb in named if names]
            # Labels count the sorted names: where one moved, all answers in between stand for other classes.
            kept = [name for name in before if name in after]
            if any(before.index(name) != after.index(name) for name in kept):
                found.append('the order of the classes changed')
            return found
        return [
            clause
            for part, old, new_part in (('training', self.train, now.train), ('test', self.test, now.test))
            if (clause := _changed_images(part, before, old, new_part))
        ]


def identify(data: ImageData) -> DataIdentity:
    """Take the identity of data; cheap for images in files, one pass of hashing for images in memory."""
    count = data.num_classes
    return DataIdentity(data.class_names, _contents(data.images.train, count), _contents(data.images.test, count))


def keep_identity(folder: Path, identity: DataIdentity) -> None:
    """Write the identity of a run's data into its folder."""
    write_atomically(folder / IDENTITY_FILE, json.dumps(asdict(identity)) + '\n')


def check_identity(folder: Path, identity: DataIdentity) -> bool:
    """Refuse data that are not those of a run.

    Parameters
    ----------
    folder
        The run's folder.
    identity
        That of the data now.

    Returns
    -------
    bool
        Whether the run has kept what its data were.

    Raises
    ------
    DataError
        If the data differ, with what changed; or if the run's file cannot be read.
    """
    path = folder / IDENTITY_FILE
    if not path.exists():
        return False
    changes = _load(path).changes(identity)
    if changes:
        raise DataError(
            f'The data are not those of {folder}: {"; ".join(changes)}; put the data back as they were, '
            f'or begin a new run.'
        )
    return True


def _load(path: Path) -> DataIdentity:
    """Read a file of :func:`keep_identity`."""
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        names = tuple(str(name) for name in document['class_names'])
        train, test = (tuple(ClassContent(int(each['count']), str(each['digest'])) for each in document[part])
                       for part in ('train', 'test'))
        if not len(names) == len(train) == len(test):
            raise ValueError('its parts have different numbers of classes')
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = ' '.join(str(error).split()).rstrip('.')
        raise DataError(f'{path} is not what a run keeps of its data ({reason}); restore it or begin a new run.'
                        ) from error
    return DataIdentity(names, train, test)


def _contents(store: ImageStore, num_classes: int) -> tuple[ClassContent, ...]:
    """Count and hash the images of each class."""
    digests = store.class_digests(num_classes)
    counts = store.labels.bincount(minlength=num_classes).tolist()
    return tuple(ClassContent(count, digest) for count, digest in zip(counts, digests, strict=True))


def _changed_images(part: str, names: tuple[str, ...], before: tuple[ClassContent, ...],
                    after: tuple[ClassContent, ...]) -> str:
    """Say which classes of a part have other images."""
    changed = [
        f'{name!r} ({old.count} images, now {new.count})' if old.count != new.count else f'{name!r} (other images)'
        for name, old, new in zip(names, before, after, strict=True) if old != new
    ]
    return f'the {part} images of class {_listed(changed)} changed' if changed else ''


def _listed(names: list[str]) -> str:
    """List the first names, and how many more there are."""
    return ', '.join(names[:_NAMED]) + (f' and {len(names) - _NAMED} more' if len(names) > _NAMED else '')
