"""YAML as people write it: numbers of YAML 1.2, each key once, plain values alone."""

import pytest

from nni_wcnas.settings.document import parse_value, read_document
from nni_wcnas.settings.problems import CommandError, SettingsError


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('010', 10), ('-07', -7), ('0', 0), ('0x1F', 31), ('0o17', 15), ('1_000', 1000), ('1:30', '1:30'),
        ('190:20:30', '190:20:30'), ('2024-01-01', '2024-01-01'), ('1e-3', 0.001), ('3.', 3.0), ('08', 8),
    ],
)
def test_numbers(text, value, tmp_path):
    assert parse_value(text) == value and type(parse_value(text)) is type(value)
    path = tmp_path / 'settings.yml'
    path.write_text(f'seed: {text}\n')
    assert read_document(path).values == {'seed': value}


@pytest.mark.parametrize('text', ['!!binary aGVsbG8=', '!!set {a, b}', '!!omap [a: 1]', '!!timestamp 2024-01-01'])
def test_values_that_are_not_plain_are_told_with_their_line(text, tmp_path):
    path = tmp_path / 'settings.yml'
    path.write_text(f'seed: 0\ndata:\n  name: {text}\n')
    with pytest.raises(SettingsError, match=r'settings.yml:3: data.name: is a !!\w+, which is no plain value; write'):
        read_document(path)


def test_a_key_twice_is_refused_on_the_command_line_too():
    with pytest.raises(CommandError, match=r"name is written twice; keep one of them"):
        parse_value('{name: digits, name: cifar10}')
    with pytest.raises(CommandError, match=r'data.limit is written twice'):
        parse_value('{data: {limit: 1, limit: 2}}')


@pytest.mark.parametrize(
    'text', ['!!python/object/apply:os.system [ls]', '!!python/name:os.system', '{a: !!python/tuple [1]}']
)
def test_nothing_is_executed(text, tmp_path):
    path = tmp_path / 'settings.yml'
    path.write_text(f'seed: {text}\n')
    with pytest.raises(SettingsError, match='seed'):
        read_document(path)
    with pytest.raises(CommandError):
        parse_value(text)
