"""A trial builds each of its parts once, from the check of the settings to the end of the search."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nni_wcnas.cli.search import open_run, search
from nni_wcnas.settings import assembly
from nni_wcnas.settings.settings import load_trial

TINY = """data: {name: digits, batch_size: 8, limit: 40}
space: {name: darts, width: 2, num_cells: 3}
method: darts
search: {epochs: 1, warmup: 0}
device: cpu
"""


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often the real data and strategies are built."""
    calls: Counter[str] = Counter()

    def count(name: str) -> None:
        make = getattr(assembly, name)

        def counted(settings: Any) -> Any:
            calls[name] += 1
            return make(settings)

        monkeypatch.setattr(assembly, name, counted)

    count('make_data')
    count('make_strategy')
    return calls


def test_a_search_builds_its_parts_once(tmp_path: Path, built: Counter[str]) -> None:
    (tmp_path / 's.yml').write_text(TINY)
    trial = load_trial(tmp_path / 's.yml')
    found = search(trial, open_run(tmp_path / 'run', trial, resume=False))
    assert built == {'make_data': 1, 'make_strategy': 1}
    assert found.data is trial.data


def test_the_architecture_tells_the_numbers_from_before_the_search(tmp_path: Path) -> None:
    """The search uses up the strategy."""
    (tmp_path / 's.yml').write_text(TINY)
    trial = load_trial(tmp_path / 's.yml')
    run = open_run(tmp_path / 'run', trial, resume=False)
    origin = search(trial, run).architecture.provenance['settings']
    assert origin['method'] == run.read_settings()['method'] == load_trial(tmp_path / 's.yml').resolved['method']
