"""README and docs: their Python runs, their commands, files and links exist, the first command does what it says."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()
PAGES = [ROOT / 'README.md', ROOT / 'CHANGELOG.md', *sorted((ROOT / 'docs').glob('*.md'))]
ALL = '\n'.join(path.read_text() for path in PAGES)
SPEED = (ROOT / 'docs' / 'speed.md').read_text()


def _blocks(language):
    return re.findall(rf'^```{language}\n(.*?)^```', README, re.MULTILINE | re.DOTALL)


def test_python_runs_as_written(tmp_path):
    script = tmp_path / 'readme.py'
    script.write_text('\n'.join(_blocks('python')))
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={'HOME': str(tmp_path), 'PATH': '', 'OMP_NUM_THREADS': '1'},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert '"space": "darts"' in (tmp_path / 'digits.json').read_text()


def test_speed_table_is_filled():
    assert not re.search(r'[A-Z]+_(TABLE|OUTPUT)|TABLES', ALL)
    row = r'^\| `(darts|darts_2nd|gdas|wcnas)`.* \| (\d\.\d\d) \| (\d\.\d\d) \| (\d\.\d\d) \| ([\d.]+) \|$'
    rows = re.findall(row, SPEED, re.MULTILINE)
    assert [row[0] for row in rows] == ['darts', 'darts_2nd', 'gdas', 'wcnas'] and rows[3][4] == '1.625'
    limits = runpy.run_path(str(ROOT / 'tests' / 'benchmarks' / 'search_iteration.py'))
    shown = {name: (float(of_nni), float(of_darts), float(memory)) for name, of_nni, of_darts, memory, _ in rows}
    for (one, other), limit in limits['LIMITS'].items():
        assert shown[one][other == 'darts'] <= limit
    assert all(shown[one][2] <= limit for (one, _), limit in limits['MEMORY_LIMITS'].items())


def test_every_command_and_file_it_names_exists():
    names = set(re.findall(r'nni-wcnas (\w+)', ALL))
    shown = subprocess.run(
        [sys.executable, '-m', 'nni_wcnas.cli', '--help'], capture_output=True, text=True, check=True
    ).stdout
    assert {'run', 'search', 'pretrain', 'retrain', 'evaluate', 'report', 'options'} <= names
    assert all(name in shown for name in names)
    to_come = re.findall(r'New file `([^`]+)`', ALL)  # A recipe's, which tests/test_extend.py makes.
    for name in re.findall(r'`?((?:experiments|tests|nni_wcnas|functional|objective)/[\w/]+(?:\.\w+)+)', ALL):
        assert name in to_come or (ROOT / name).exists() or (ROOT / 'nni_wcnas' / name).exists(), name


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Relative ones, to files of the repository and to headings of their pages."""
    for target in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
        if target.startswith(('http://', 'https://')):
            continue
        path, _, heading = target.partition('#')
        found = page.parent / path if path else page
        assert found.exists(), f'{page.name}: {target}'
        if found.suffix != '.md':
            continue  # A picture, or a folder.
        titles = [re.sub(r'[^\w\- ]', '', title).strip().lower().replace(' ', '-')
                  for title in re.findall(r'^#+ (.+)$', found.read_text(), re.MULTILINE)]
        assert not heading or heading in titles, f'{page.name}: {target}'


@pytest.mark.parametrize(
    'path',
    sorted([*(ROOT / 'experiments').glob('*.yml'), *(ROOT / 'search_spaces').glob('*.yml')]),
    ids=lambda p: p.name,
)
def test_experiment_files_are_yaml_that_names_files_that_exist(path):
    content = yaml.safe_load(path.read_text())
    for key in ('searchSpaceFile', 'space'):
        if isinstance(content.get(key), str):
            assert (path.parent / content[key]).is_file()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_first_command_on_a_fresh_clone(tmp_path):
    """Install and search, as a new user does; minutes."""
    clone = tmp_path / 'clone'
    subprocess.run(['git', 'clone', '-q', ROOT, clone], check=True)
    first = _blocks('bash')[0]
    assert 'pip install' in first and 'nni-wcnas run' in first
    result = subprocess.run(
        ['bash', '-euo', 'pipefail', '-c', first], cwd=clone, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    reports = list(clone.glob('runs/*/report.html'))
    assert len(reports) == 1 and str(reports[0]) in result.stdout.replace('\n', '')
