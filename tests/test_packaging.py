"""What the package imports is what it declares, and what it reads is in its wheel."""

import ast
import configparser
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]


def _imported():
    for path in (ROOT / 'nni_wcnas').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split('.')[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split('.')[0]


def _names(needs):
    """Packages in lists of requirements."""
    lines = [line for line in '\n'.join(needs).splitlines() if line.strip()[:1] not in ('', '#')]
    return {re.split(r'[ <>=]', line)[0].lower().replace('_', '-') for line in lines}


def test_every_import_is_declared():
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    extras = [needs for extra, needs in config['options.extras_require'].items() if extra not in ('test', 'oracles')]
    declared = _names([config['options']['install_requires'], *extras])
    known = packages_distributions()
    third = {name for name in _imported() if name not in sys.stdlib_module_names and name != 'nni_wcnas'}
    undeclared = {
        name for name in third if not declared & {other.lower().replace('_', '-') for other in known.get(name, [name])}
    }
    assert not undeclared


def test_what_tests_skip_without_is_in_an_extra():
    """Else nobody who follows the README ever runs them."""
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    declared = _names(config['options.extras_require'].values())
    texts = [path.read_text(encoding='utf-8') for path in (ROOT / 'tests').rglob('*.py')]
    modules = {name for text in texts for name in re.findall(r"importorskip\('([a-z0-9_]+)'\)", text)}
    packages = {'cv2': 'opencv-python', 'imagecorruptions': 'imagecorruptions-imaug'}
    assert {packages.get(name, name) for name in modules} - {'pip'} <= declared
    assert {'cv2', 'imagecorruptions', 'pyautoattack'} <= modules
    assert '.[test,oracles]' in (ROOT / 'README.md').read_text()


def test_wheel_has_the_published_cells(tmp_path):
    """Built from a copy, as building writes beside the sources."""
    pytest.importorskip('pip')
    for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / 'nni_wcnas', tmp_path / 'nni_wcnas', ignore=shutil.ignore_patterns('__pycache__'))
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '--no-index', '-w',
               tmp_path / 'wheels', tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / 'wheels').glob('nni_wcnas-*.whl')
    packed = set(ZipFile(wheel).namelist())
    files = {f'nni_wcnas/{path.relative_to(ROOT / "nni_wcnas")}' for path in (ROOT / 'nni_wcnas').rglob('*.*')
             if path.suffix in ('.py', '.json', '.html', '.css')}
    assert len([name for name in files if name.startswith('nni_wcnas/published/')]) > 5
    assert files <= packed
