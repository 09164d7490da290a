"""The architecture file: it comes back as it went, and every mistake is one sentence with file, key and remedy."""

import json
import os
import subprocess
import sys

import pytest

from nni_wcnas.contracts import Choice
from nni_wcnas.spaces.architecture import (
    SPACES,
    Architecture,
    ArchitectureError,
    load_architecture,
    save_architecture,
    write_atomically,
)
from nni_wcnas.spaces.operations import PRIMITIVES

CELL = (
    (Choice('sep_conv_3x3', 0), Choice('skip_connect', 1)),
    (Choice('dil_conv_5x5', 2), Choice('max_pool_3x3', 0)),
    (Choice('sep_conv_5x5', 3), Choice('avg_pool_3x3', 2)),
    (Choice('skip_connect', 4), Choice('dil_conv_3x3', 1)),
)


@pytest.fixture
def architecture():
    return Architecture.from_genotype({'normal': CELL, 'reduce': CELL[::1]}, provenance={'seed': 3})


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'architecture.json'


def test_round_trip(architecture, path):
    assert save_architecture(architecture, path) == path
    loaded = load_architecture(path)
    assert loaded == architecture
    assert loaded.cell('normal') == CELL
    assert loaded.genotype() == {'normal': CELL, 'reduce': CELL}
    assert loaded.operations == PRIMITIVES
    assert loaded.provenance == {'seed': 3}
    assert [entry.name for entry in path.parent.iterdir()] == ['architecture.json']


def test_sample_is_what_nni_exports(architecture):
    assert len(architecture.sample) == 32
    assert architecture.sample['normal/op_3_0'] == 'dil_conv_5x5'
    assert architecture.sample['reduce/input_3_0'] == [2]


def test_other_spaces_hold_any_labels(path):
    sample = {'layer_0': 'conv_3x3', 'depth': 3, 'width': [1, 2]}
    for space in ('hub_nasbench201', 'proxylessnas', 'mobilenetv3', 'other'):
        save_architecture(Architecture(space, sample), path)
        assert load_architecture(path).sample == sample
        with pytest.raises(ArchitectureError, match='has no cells'):
            load_architecture(path).cell('normal')


def test_hub_may_search_width_and_depth(architecture):
    sample = {**architecture.sample, 'width': 16, 'depth': 8}
    assert Architecture('hub_darts', sample, architecture.operations).cell('normal') == CELL
    with pytest.raises(ArchitectureError, match='sample.width'):
        Architecture('darts', sample, architecture.operations)


def test_smaller_cells(path):
    cell = ((Choice('skip_connect', 0),), (Choice('sep_conv_3x3', 2),))
    small = Architecture.from_genotype({'normal': cell, 'reduce': cell})
    assert small.arguments == {'num_nodes': 2, 'num_ops_per_node': 1}
    save_architecture(small, path)
    assert load_architecture(path).cell('reduce') == cell


def test_unknown_cell(architecture):
    with pytest.raises(ArchitectureError, match="no cell 'middle': ask for 'normal', 'reduce'"):
        architecture.cell('middle')


def change(key, value):
    def apply(document):
        *parents, last = key
        for parent in parents:
            document = document[parent]
        document[last] = value

    return apply


def remove(*key):
    def apply(document):
        *parents, last = key
        for parent in parents:
            document = document[parent]
        del document[last]

    return apply


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (change(['version'], 2), r"key 'version' is 2, but this release reads version 1: update"),
        (change(['version'], True), r"key 'version' is True"),
        (change(['version'], '1'), r"key 'version' is '1'"),
        (remove('version'), r"key 'version' is None"),
        (change(['space'], 'dart'), r"key 'space' is 'dart': did you mean 'darts'\?"),
        (change(['space'], 3), r"key 'space' is 3"),
        (change(['space'], ['darts']), r"key 'space' is \['darts'\]"),
        (remove('sample'), r"key 'sample' is missing"),
        (change(['sample'], []), r"key 'sample' is of type list: make it a map"),
        (change(['provenance'], 3), r"key 'provenance' is of type int"),
        (change(['arguments'], None), r"key 'arguments' is of type NoneType"),
        (
            change(['arguments'], {'num_nodes': 1000000}),
            r"key 'arguments.num_nodes' is 1000000: make it a whole number",
        ),
        (change(['arguments'], {'num_nodes': 5}), r"key 'sample.normal/op_6_0' is missing"),
        (change(['arguments'], {'num_ops_per_node': 'two'}), r"key 'arguments.num_ops_per_node' is 'two'"),
        (change(['operations'], 'sep_conv_3x3'), r"key 'operations' is 'sep_conv_3x3': list the names"),
        (change(['operations'], 5), r"key 'operations' is 5"),
        (change(['operations'], []), r"key 'operations' is empty"),
        (change(['operations'], [3]), r"key 'operations' is \[3\]"),
        (
            change(['operations', 3], 'skip_conect'),
            r"key 'operations' holds 'skip_conect': did you mean 'skip_connect'\?",
        ),
        (
            change(['sample', 'normal/op_2_0'], 'sep_conv_3'),
            r"key 'sample.normal/op_2_0' is 'sep_conv_3': did you mean 'sep_conv_3x3'\?",
        ),
        (change(['sample', 'normal/op_2_0'], 'none'), r"key 'sample.normal/op_2_0' is 'none'"),
        (change(['sample', 'normal/op_2_0'], None), r"key 'sample.normal/op_2_0' is None"),
        (change(['sample', 'normal/op_2_0'], ['skip_connect']), r"key 'sample.normal/op_2_0' is \['skip_connect'\]"),
        (
            change(['sample', 'reduce/input_2_0'], [2]),
            r"key 'sample.reduce/input_2_0' is \[2\]: give a list of one state from 0 to 1",
        ),
        (change(['sample', 'reduce/input_5_1'], [-1]), r"'sample.reduce/input_5_1' is \[-1\]: .* from 0 to 4"),
        (change(['sample', 'reduce/input_5_1'], [True]), r"'sample.reduce/input_5_1' is \[True\]"),
        (change(['sample', 'reduce/input_5_1'], [1, 2]), r"'sample.reduce/input_5_1' is \[1, 2\]"),
        (change(['sample', 'reduce/input_5_1'], 1), r"'sample.reduce/input_5_1' is 1: give a list"),
        (remove('sample', 'reduce/op_5_1'), r"key 'sample.reduce/op_5_1' is missing"),
        (
            change(['sample', 'normal/op_6_0'], 'skip_connect'),
            r"key 'sample.normal/op_6_0' is unknown: .*did you mean 'normal/op_\d_0'\?",
        ),
        (change(['Sample'], {}), r"key 'Sample' is unknown: remove it, or did you mean 'sample'\?"),
    ],
)
def test_a_damaged_file_is_refused(architecture, path, damage, message):
    save_architecture(architecture, path)
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ArchitectureError, match=message) as caught:
        load_architecture(path)
    assert str(caught.value).startswith(f'{path}: ')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'is not JSON'),
        (b'{"version": 1,', 'is not JSON'),
        (b'\xff\xfe\x00', 'is not JSON'),
        (b'[]', 'holds a JSON list, not an object'),
        (b'null', 'holds a JSON NoneType'),
        (b'[' * 100_000, 'is not JSON'),
        (b'1' * 6000, 'is not JSON'),
        (b'{"version": 1, "version": 1}', "key 'version' stands twice: remove one"),
    ],
)
def test_what_is_no_architecture_is_refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(ArchitectureError, match=message) as caught:
        load_architecture(path)
    assert str(caught.value).startswith(f'{path}: ')


def test_a_huge_file_is_not_read(path):
    with path.open('wb') as file:
        file.truncate(1 << 40)  # Sparse: reading it would need a terabyte of memory.
    with pytest.raises(ArchitectureError, match='has 1099511627776 bytes, more than'):
        load_architecture(path)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(ArchitectureError, match='No such file'):
        load_architecture(tmp_path / 'nothing.json')
    with pytest.raises(ArchitectureError, match='Is a directory'):
        load_architecture(tmp_path)


@pytest.mark.parametrize('value', [object(), float('nan')])
def test_unwritable_provenance_leaves_the_old_file(architecture, path, value):
    save_architecture(architecture, path)
    odd = Architecture(architecture.space, architecture.sample, architecture.operations, provenance={'value': value})
    with pytest.raises(ArchitectureError, match='cannot be written'):
        save_architecture(odd, path)
    assert load_architecture(path) == architecture


def test_a_failing_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / 'file.txt'
    write_atomically(path, 'old')
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, '\ud800')
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['file.txt']


def test_spaces_are_named_once():
    assert len(set(SPACES)) == len(SPACES)


def test_needs_no_nni():
    code = (
        'import sys; sys.modules["nni"] = None; sys.modules["pytorch_lightning"] = None; '
        'import nni_wcnas.spaces.architecture, nni_wcnas.evaluation.network; print("fine")'
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == 'fine\n'
