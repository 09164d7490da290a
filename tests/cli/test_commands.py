"""Commands as modules: each says its arguments and its examples, and only what a command needs is imported."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nni_wcnas.cli import commands
from nni_wcnas.cli.commands import COMMANDS
from nni_wcnas.cli.parser import make_parser


@pytest.mark.parametrize('name', COMMANDS)
def test_examples_are_commands_that_are_understood(name):
    lines = [line.replace('\\\n', ' ') for line in COMMANDS[name].EXAMPLES]
    typed = [shlex.split(line)[1:] for line in lines if line.startswith('nni-wcnas')]
    assert typed and all(make_parser().parse_args(words).command == name for words in typed)


def test_every_module_of_the_folder_is_listed():
    files = {path.stem for path in Path(commands.__file__).parent.glob('*.py')} - {'__init__'}
    assert files == set(COMMANDS)


def test_help_imports_nothing_that_is_slow():
    code = (
        'import sys; from nni_wcnas.cli.parser import make_parser; make_parser(); '
        'sys.exit(bool({"torch", "nni", "pydantic", "scipy"} & {*sys.modules}))'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
