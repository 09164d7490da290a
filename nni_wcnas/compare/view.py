"""What the found networks of a comparison see of their images, where the space leaves that open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from nni_wcnas.compare.method import Method
from nni_wcnas.data.shortcut import DEFAULT_STRENGTH
from nni_wcnas.files.record import Record
from nni_wcnas.spaces.architecture import Architecture
from nni_wcnas.spaces.views import VIEW_NOTES

__all__ = ['explained', 'shortcut_note', 'view_of', 'views_note', 'views_of']


def view_of(record: Record) -> str:
    """Return what the network of a record sees of its images; empty where the space leaves no choice."""
    return Architecture(**record.architecture).view or '' if record.architecture else ''


def views_of(method: Method) -> str:
    """Say what the networks of a method see, the most frequent first, such as ``luminance (2 of 3), raw (1 of 3)``."""
    counts = Counter(view for record in method.records if (view := view_of(record)))
    if len(counts) == 1 and counts.total() == len(method.records):
        return next(iter(counts))
    return ', '.join(f'{view} ({count} of {len(method.records)})' for view, count in counts.most_common())


def views_note(methods: Sequence[Method]) -> str:
    """Explain the views that the found networks have; empty where there was no choice."""
    return explained(view_of(record) for method in methods for record in method.records)


def shortcut_note(methods: Sequence[Method]) -> str:
    """Explain the cue of data that have one, and the groups that it makes; empty for other data.

    Records that compare are of the same data, so the first one tells.
    """
    data = methods[0].records[0].settings.get('data', {})
    if not data.get('shortcut'):
        return ''
    strength = DEFAULT_STRENGTH if data.get('strength') is None else data['strength']
    return (
        f'Training images carry a cue, their {data["shortcut"]}, which is that of their class in {strength:.0%} of '
        "cases; that of a test image is any class's. Unless other groups were given, the worst group is the worse of "
        'the test images whose cue agrees with their class and of those whose cue contradicts it.'
    )


def explained(views: Iterable[str]) -> str:
    """Explain some views, each once; empty ones are passed over."""
    known = dict.fromkeys(view for view in views if view)
    notes = '; '.join(f'{view}: {VIEW_NOTES[view]}' for view in known)
    return (f'Every search, whatever its method, also chose what the network sees of its images (the column "sees"). '
            f'{notes}.') if known else ''
