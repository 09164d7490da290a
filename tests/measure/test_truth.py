"""Tables of true values: ranks by brute force, what is a column, and what is refused."""

import gzip
import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import percentileofscore

from nni_wcnas.measure.truth import TruthError, load_truth
from nni_wcnas.spaces import to_string
from nni_wcnas.spaces.candidates import dense_labels
from nni_wcnas.spaces.operations import BENCHMARK_PRIMITIVES

PUBLISHED = Path(__file__).parents[3] / 'shared' / 'data' / 'nb201_cifar10_worst_case.csv.gz'
TEXT = """\
index,arch_str,note,clean,class_0,class_1
0,a,good,0.9,0.8,0.7
1, b ,bad,0.5,0.75,0.25
2,c,good,0.9,0.9,0.95
"""


@pytest.fixture
def path(tmp_path):
    found = tmp_path / 'table.csv'
    found.write_text(TEXT)
    return found


def test_ranks_and_percentiles_by_brute_force(tmp_path):
    generator = np.random.default_rng(0)
    values = {name: generator.integers(0, 20, 50) / 8 for name in ('first', 'second')}  # With many ties.
    rows = [f'{row},{values["first"][row]},{values["second"][row]}' for row in range(50)]
    (tmp_path / 't.csv').write_text('\n'.join(('arch_str,first,second', *rows)))
    table = load_truth(tmp_path / 't.csv')
    for row, (name, column) in itertools.product(range(50), values.items()):
        found = table.standings(str(row))[name]
        assert found.value == column[row] and found.count == 50
        assert found.rank == 1 + sum(other > column[row] for other in column)
        assert found.percentile == pytest.approx(percentileofscore(column, column[row], kind='weak'), abs=1e-9)


def test_columns(path):
    """Text and row numbers are none; the worst class is one where there are classes, unless the table has its own."""
    table = load_truth(path)
    assert list(table.columns) == ['clean', 'class_0', 'class_1', 'worst_class']
    assert [table.standings(name)['worst_class'].value for name in 'abc'] == [0.7, 0.25, 0.9]
    assert list(table.select(['worst_class', 'clean']).columns) == ['worst_class', 'clean']
    path.write_text(TEXT.replace('note,clean', 'note,worst_class'))
    assert load_truth(path).standings('b')['worst_class'].value == 0.5
    path.write_text(TEXT.replace('class_', 'kind_'))
    assert 'worst_class' not in load_truth(path).columns


def test_of_equal_rows_the_first_counts(path):
    path.write_text(TEXT + '3,b,worse,0.1,0.1,0.1\n')
    standing = load_truth(path).standings('b')['clean']
    assert (standing.value, standing.rank, standing.count) == (0.5, 3, 4)


def test_gzipped_is_the_same(path):
    packed = path.with_suffix('.gz')
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert load_truth(packed).standings('c') == load_truth(path).standings('c')
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(TruthError, match='cannot be read'):
        load_truth(packed)


def test_architectures_that_a_table_lacks(tmp_path):
    labels, operations = dense_labels(), ('none', 'skip_connect')
    every = [to_string(dict(zip(labels, chosen))) for chosen in itertools.product(operations, repeat=6)]
    (tmp_path / 't.csv').write_text('arch_str,clean\n' + ''.join(f'{name},1\n' for name in every[1:]))
    table = load_truth(tmp_path / 't.csv')
    assert table.missing(operations) == every[:1] and table.missing(['skip_connect']) == []
    with pytest.raises(TruthError, match=r't.csv has no architecture \|none~0\|.*; give a table that has'):
        table.standings(every[0])


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('arch_str', 'arch', 'has no column arch_str, but index, arch, note, clean, class_0, class_1; give a CSV file'),
        (TEXT, '', 'has no rows; give a CSV file'),
        (TEXT.partition('\n')[2], '', 'has no rows; give a CSV file with a column arch_str and columns of numbers'),
        ('0.5,', 'half,', "has 'half' in row 2 of clean; correct it, or leave the column out"),
        ('0.5,', 'nan,', "has 'nan' in row 2 of clean"),
        ('0.5,', '', 'has 5 cells in row 2 under 6 names; correct the row'),
        (TEXT, 'index,arch_str,note\n0,a,good\n', 'has no column of numbers; give a CSV file'),
    ],
)
def test_refusals(path, old, new, message):
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(TruthError) as caught:
        load_truth(path)
    assert str(caught.value).startswith(f'{path} {message}') and '\n' not in str(caught.value)


@pytest.mark.parametrize('content', [None, b'\xff\xfe,\n'])
def test_what_is_no_text(tmp_path, content):
    if content is not None:
        (tmp_path / 't.csv').write_bytes(content)
    with pytest.raises(TruthError, match=r't\.csv cannot be read \(.*\); give a CSV file with a column arch_str'):
        load_truth(tmp_path / 't.csv')
    with pytest.raises(TruthError, match='cannot be read .Is a directory.'):
        load_truth(tmp_path)


def test_a_column_that_is_not_there(path):
    with pytest.raises(TruthError, match=r"columns has 'clan', of which .* has no numbers: did you mean 'clean'\?"):
        load_truth(path).select(['clan'])


@pytest.mark.skipif(not PUBLISHED.exists(), reason='the table of all architectures is not beside the checkout')
def test_the_whole_benchmark():
    start = time.process_time()
    table = load_truth(PUBLISHED)
    standings = table.standings(table.architectures[1])
    assert time.process_time() - start < 1
    assert len(table.architectures) == 15625 and table.missing(BENCHMARK_PRIMITIVES) == []
    assert standings['clean'].rank == 1 + sum(table.columns['clean'] > standings['clean'].value)
