"""The architecture file: it comes back as it went, and every mistake is one sentence with file, key and remedy."""

import json
import subprocess
import sys

import pytest

from nni_wcnas.contracts import Choice
from nni_wcnas.spaces.architecture import SPACES, Architecture, ArchitectureError, load_architecture, save_architecture
from nni_wcnas.spaces.architecture_string import from_string
from nni_wcnas.spaces.operations import BENCHMARK_PRIMITIVES, PRIMITIVES

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


def test_dense_cells(path):
    sample = from_string('|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|')
    save_architecture(Architecture('nasbench201', sample, BENCHMARK_PRIMITIVES), path)
    loaded = load_architecture(path)
    assert loaded.string == '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|'
    assert (loaded.cells, loaded.num_inputs, loaded.num_nodes, loaded.is_cell) == (('cell',), 1, 3, False)
    assert loaded.outputs('cell') == (2,)
    assert loaded.genotype()['cell'][1] == (Choice('none', 0), Choice('skip_connect', 1))
    with pytest.raises(ArchitectureError, match="no cell 'normal': ask for 'cell'"):
        loaded.cell('normal')
    for wrong, message in (
        ({**sample, 'cell/2_0': 'max_pool_3x3'}, "key 'sample.cell/2_0' is 'max_pool_3x3': did you mean 'avg_pool"),
        ({key: name for key, name in sample.items() if key != 'cell/3_1'}, "key 'sample.cell/3_1' is missing"),
        ({**sample, 'cell/4_0': 'none'}, "key 'sample.cell/4_0' is unknown"),
    ):
        with pytest.raises(ArchitectureError, match=message):
            Architecture('nasbench201', wrong, BENCHMARK_PRIMITIVES)


def test_the_hubs_cells(path):
    """Five nodes; the output of some are the nodes that no other takes."""
    operations = ('sep_conv_7x7', 'max_pool_7x7', 'conv_7x1_1x7', 'skip_connect')
    cell = tuple((Choice(operations[node % 4], node), Choice('skip_connect', 0)) for node in range(5))
    for space, outputs in (('hub_nasnet', (3, 4)), ('hub_enas', (3, 4)), ('hub_amoebanet', (3, 4)), ('hub_pnas', None)):
        found = Architecture.from_genotype({'normal': cell, 'reduce': cell}, space=space, operations=operations)
        assert found.arguments == {} and found.num_nodes == 5
        save_architecture(found, path)
        loaded = load_architecture(path)
        assert loaded.cell('reduce') == cell and loaded.outputs('normal') == (outputs or (0, 1, 2, 3, 4))


def test_reduced_spaces_allow_some_operations_on_each_edge(path):
    normal = (
        (Choice('skip_connect', 0), Choice('dil_conv_5x5', 1)),
        (Choice('dil_conv_5x5', 0), Choice('dil_conv_3x3', 2)),
        (Choice('max_pool_3x3', 0), Choice('skip_connect', 3)),
        (Choice('dil_conv_5x5', 4), Choice('max_pool_3x3', 1)),
    )
    reduce = (
        (Choice('avg_pool_3x3', 0), Choice('dil_conv_3x3', 1)),
        (Choice('max_pool_3x3', 0), Choice('dil_conv_5x5', 2)),
        (Choice('sep_conv_3x3', 1), Choice('dil_conv_5x5', 3)),
        (Choice('skip_connect', 4), Choice('avg_pool_3x3', 0)),
    )
    found = Architecture.from_genotype({'normal': normal, 'reduce': reduce}, space='s1')
    save_architecture(found, path)
    assert load_architecture(path) == found
    document = json.loads(path.read_text())
    document['sample']['normal/op_4_1'] = 'sep_conv_3x3'
    path.write_text(json.dumps(document))
    message = (
        f"{path}: key 'sample.normal/op_4_1' is 'sep_conv_3x3', which s1 does not allow from state 3: take "
        "'skip_connect' or 'dil_conv_3x3'"
    )
    with pytest.raises(ArchitectureError) as caught:
        load_architecture(path)
    assert str(caught.value) == message
    with pytest.raises(ArchitectureError, match="'dil_conv_5x5', which s2 does not allow from state 1"):
        Architecture.from_genotype({'normal': normal, 'reduce': reduce}, space='s2')
    with pytest.raises(ArchitectureError, match="'arguments.num_nodes' is 3, but cells of s1 have 4 nodes: leave it"):
        Architecture.from_genotype({'normal': normal[:3], 'reduce': reduce[:3]}, space='s1')


def test_the_stem_is_of_two_kinds(architecture):
    with pytest.raises(ArchitectureError, match="key 'arguments.stem' is 'large': make it cifar or imagenet"):
        Architecture('darts', architecture.sample, architecture.operations, arguments={'stem': 'large'})


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


def test_spaces_are_named_once():
    assert len(set(SPACES)) == len(SPACES)


def test_needs_no_nni():
    code = (
        'import sys; sys.modules["nni"] = None; sys.modules["pytorch_lightning"] = None; '
        'import nni_wcnas.spaces.architecture, nni_wcnas.network.cell_network; print("fine")'
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == 'fine\n'
