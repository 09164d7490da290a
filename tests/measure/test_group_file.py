"""Groups of test examples from files: read, named, and refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nni_wcnas.data import Digits
from nni_wcnas.measure.group_file import load_groups, shortcut_groups


@pytest.fixture
def groups(tmp_path: Path) -> str:
    np.save(tmp_path / 'groups.npy', np.array([0, 1, 2]))
    return str(tmp_path / 'groups.npy')


def named(tmp_path: Path, names: dict[str, str]) -> str:
    path = tmp_path / 'names.json'
    path.write_text(json.dumps(names))
    return str(path)


def test_names_of_some_groups(groups: str, tmp_path: Path) -> None:
    found = load_groups(groups, named(tmp_path, {'0': 'day', '2': 'night'}), 3)
    assert found is not None and found.names == {0: 'day', 2: 'night'} and found.values.tolist() == [0, 1, 2]


def test_a_name_of_two_groups_is_refused(groups: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names.json: 'day' names several groups; give each a name of its own"):
        load_groups(groups, named(tmp_path, {'0': 'day', '1': 'day', '2': 'night'}), 3)


def test_groups_of_data_with_a_shortcut() -> None:
    data = Digits(shortcut='dot')
    found = shortcut_groups(data)
    assert found is not None and found.names == {0: 'cue_agrees', 1: 'cue_contradicts'}
    agrees = data.images.test.cues == data.images.test.labels
    assert found.values.tolist() == (~agrees).long().tolist()
    other = shortcut_groups(Digits(shortcut='colour'))
    assert other is not None and other.source != found.source, 'measured anew for another cue'
    assert shortcut_groups(Digits()) is None
