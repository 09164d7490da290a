"""docs/extend.md does what it says: its blocks are written into a copy of the package, whose tests then pass."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(
    r'^(?:New file `(?P<new>[\w/.]+)`|In `(?P<old>[\w/.]+)`, after `(?P<anchor>.+?)`):\n\n```python\n(?P<code>.*?)^```',
    (ROOT / 'docs' / 'extend.md').read_text(),
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    """A checkout in which every step of the page was done."""
    folder = tmp_path_factory.mktemp('extended')
    for name in ('nni_wcnas', 'tests/relaxation', 'docs', 'search_spaces'):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.cfg', 'README.md', 'CHANGELOG.md', 'tests/test_options.py'):
        shutil.copy(ROOT / name, folder / name)
    for new, old, anchor, code in BLOCKS:
        if new:
            assert not (folder / new).exists(), f'{new} is no new file'
            (folder / new).write_text(code)
            continue
        text = (folder / old).read_text()
        assert text.count(f'{anchor}\n') == 1, f'{old} has no single line {anchor}'
        (folder / old).write_text(text.replace(f'{anchor}\n', f'{anchor}\n{code}'))
    # "And its name in `__all__` there."
    for package, name in (('relaxation', 'Tempered'), ('data', 'Stripes')):
        path = folder / 'nni_wcnas' / package / '__init__.py'
        path.write_text(path.read_text().replace('__all__ = [', f"__all__ = ['{name}', "))
    # "Name it in the table of methods.md."
    methods = folder / 'docs' / 'methods.md'
    methods.write_text(methods.read_text().replace('`Softmax`,', '`Softmax`, `Tempered`,', 1))
    return folder


def _run(copy, *arguments):
    environment = {**os.environ, 'PYTHONPATH': str(copy), 'OMP_NUM_THREADS': '1'}
    result = subprocess.run(
        [sys.executable, *arguments], cwd=copy, capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def test_every_python_block_is_used():
    assert len(BLOCKS) == (ROOT / 'docs' / 'extend.md').read_text().count('```python') == 9


def test_shared_tests_take_the_new_members_as_they_are(copy):
    files = ('tests/relaxation', 'tests/test_options.py')
    passed = _run(copy, '-m', 'pytest', '-v', '-p', 'no:cacheprovider', '-k', 'tempered', *files)
    assert 'Tempered(temperature=0.5)' in passed and '[tempered]' in passed and 'TestTempered' in passed


def test_new_members_are_searched_with(copy):
    settings = copy / 'stripes.yml'
    settings.write_text(
        'data: {name: stripes, limit: 80, batch_size: 20}\nspace: {name: darts, width: 4, num_cells: 3, num_nodes: 1}\n'
        'method: {preset: darts, relaxation: tempered}\nsearch: {epochs: 1}\n'
    )
    _run(copy, '-m', 'nni_wcnas.cli', 'search', 'stripes.yml', '--run', 'run', '--cpu')
    assert 'tempered' in (copy / 'run' / 'settings.yml').read_text()
    told = _run(copy, '-m', 'nni_wcnas.cli', 'options')
    assert all(name in told for name in ('tempered', 'kmnist', 'stripes'))
