"""What ``nni-wcnas evaluate`` prints of corruptions: the mean that is published, or what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from nni_wcnas.cli.measured_table import print_measures
from nni_wcnas.files.run_directory import RunDirectory

KNOWN = {f'{name}{suffix}': 0.5 for name in ('error', 'loss', 'ece') for suffix in ('', '_hard', '_rest')} | {
    'loss_cvar': 1.0, 'error_worst_class': 0.5, 'parameters': 1e6, 'macs': 1e6,
    'error_corruption_fog_1': 0.25, 'error_corruption_saturate_1': 0.75}


@pytest.mark.parametrize(('more', 'row'), [
    ({}, ('2 corruptions and severities, mean', '50.00%')),
    ({'error_corruption_mean': 0.3125}, ('15 corruptions, mean', '31.25%')),
    ({'mce': 0.788}, ('15 corruptions, mCE', '78.80%')),
])
def test_mean_over_corruptions(
    more: dict[str, float], row: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_measures(RunDirectory(tmp_path), {**KNOWN, **more}, 0.1)
    lines = [line for line in capsys.readouterr().out.splitlines() if ' corruptions' in line]
    assert len(lines) == 1 and all(part in lines[0] for part in row)


def test_what_is_not_finite_is_in_no_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = {name: value for name, value in KNOWN.items() if not name.startswith('loss')}
    print_measures(RunDirectory(tmp_path), known, 0.1)
    assert capsys.readouterr().out.count('nan') == 4
