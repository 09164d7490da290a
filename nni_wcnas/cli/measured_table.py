"""The table that ``nni-wcnas evaluate`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from statistics import fmean
from typing import get_args

from rich.console import Console
from rich.table import Table

from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.measure.corruption import Variant, variant_name

__all__ = ['print_measures']


def print_measures(run: RunDirectory, measures: Mapping[str, float], share: float) -> None:
    """Print a table of errors, and where all measures are written.

    Parameters
    ----------
    run
        The run that was measured.
    measures
        Its measures by name; those that were not finite are missing, as no record holds them.
    share
        Share of the test images that count as the hardest.
    """
    table = Table('', 'test error', 'loss', 'calibration error', title=str(run.path))
    for label, suffix in (('all examples', ''), (f'hardest {share:.0%}', '_hard'), ('the rest', '_rest')):
        if f'error{suffix}' in measures:
            # A measure that was not finite is in no record: `nan` stands for it.
            error, loss, calibration = (measures.get(f'{name}{suffix}', nan) for name in ('error', 'loss', 'ece'))
            table.add_row(label, f'{error:.2%}', f'{loss:.3f}', f'{calibration:.2%}')
    table.add_row(f'worst {share:.0%} of losses', '', f'{measures.get("loss_cvar", nan):.3f}', '')
    table.add_row('worst class', f'{measures["error_worst_class"]:.2%}', '', '')
    if 'error_worst_group' in measures:  # Only where test images fall into groups.
        table.add_row('worst group', f'{measures["error_worst_group"]:.2%}', '', '')
    # One row for all corruptions: the published mean where it is known, else the mean of what was measured.
    corrupted = [value for key, value in measures.items() if key.startswith('error_corruption_') and key[-1].isdigit()]
    if 'error_corruption_mean' in measures:
        table.add_row('15 corruptions, mean', f'{measures["error_corruption_mean"]:.2%}', '', '')
    elif 'mce' in measures:
        table.add_row("15 corruptions, mCE (AlexNet's is 100%)", f'{measures["mce"]:.2%}', '', '')
        if 'relative_mce' in measures:
            table.add_row('the same, relative mCE', f'{measures["relative_mce"]:.2%}', '', '')
    elif corrupted:
        table.add_row(f'{len(corrupted)} corruptions and severities, mean', f'{fmean(corrupted):.2%}', '', '')
    for variant in get_args(Variant):
        if f'error_{variant}' in measures:
            table.add_row(variant_name(variant), f'{measures[f"error_{variant}"]:.2%}', '', '')
    for key, value in measures.items():
        if key.startswith('error_attack_'):
            table.add_row(f'attack {key.removeprefix("error_attack_")}', f'{value:.2%}', '', '')
    console = Console()
    console.print(table)
    console.print(
        f'{measures["parameters"] / 1e6:.3f} M parameters, {measures["macs"] / 1e6:.1f} M multiply-accumulates\n'
        f'written: {run.measures}',
        soft_wrap=True,
        highlight=False,
    )
