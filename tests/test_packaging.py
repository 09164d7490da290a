"""What the package imports is what it declares."""

import ast
import configparser
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _imported():
    for path in (ROOT / 'nni_wcnas').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split('.')[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split('.')[0]


def test_every_import_is_declared():
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    extras = [needs for extra, needs in config['options.extras_require'].items() if extra != 'test']
    needs = '\n'.join([config['options']['install_requires'], *extras])
    lines = [line for line in needs.splitlines() if line.strip()[:1] not in ('', '#')]
    declared = {re.split(r'[ <>=]', line)[0].lower().replace('_', '-') for line in lines}
    known = packages_distributions()
    third = {name for name in _imported() if name not in sys.stdlib_module_names and name != 'nni_wcnas'}
    undeclared = {
        name for name in third if not declared & {other.lower().replace('_', '-') for other in known.get(name, [name])}
    }
    assert not undeclared
