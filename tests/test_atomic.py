"""Writing whole or not at all, on a real disk that is full, in a real folder that is read-only, by writers that die."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from small_disk import mount, small_disk

from nni_wcnas.atomic import write_atomically

KILLED = '''
import os, sys
from nni_wcnas import atomic
def die(handle): os.kill(os.getpid(), 9)
atomic.os.fsync = die
atomic.write_atomically(sys.argv[1], 'new')
'''
"""A program that dies at the moment when all is written but not yet under its name."""

WAITING = '''
import sys
from nni_wcnas import atomic
flush = atomic.os.fsync
def wait(handle):
    print('written', flush=True)
    sys.stdin.readline()
    flush(handle)
atomic.os.fsync = wait
atomic.write_atomically(sys.argv[1], 'slow')
'''
"""A program that waits at that moment for a line of its standard input."""


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path) as folder:
        yield folder


def test_a_full_disk_keeps_the_old_file(disk):
    path = disk / 'last.ckpt'
    write_atomically(path, b'old' * 1000)
    with pytest.raises(OSError) as caught:
        write_atomically(path, bytes(2_000_000))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert 'No space left' in str(caught.value)
    assert path.read_bytes() == b'old' * 1000
    assert os.listdir(disk) == ['last.ckpt']


def test_a_read_only_disk_keeps_the_old_file(disk):
    path = disk / 'last.ckpt'
    write_atomically(path, 'old')
    assert mount('-o', 'remount,ro', disk)
    with pytest.raises(OSError) as caught:
        write_atomically(path, 'new')
    assert (caught.value.errno, caught.value.filename) == (errno.EROFS, str(path))
    assert path.read_text() == 'old'


def test_a_folder_that_is_not_ours_keeps_the_old_file():
    # Root may write anywhere: the writer becomes somebody else, after its imports. Pytest's own folders are private.
    program = ('import os, sys\n'
               'from nni_wcnas.atomic import write_atomically\n'
               'os.getuid() or os.setuid(65534)\n'
               'try:\n    write_atomically(sys.argv[1], "new")\n'
               'except PermissionError as error:\n    print(error.filename)\n')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'last.ckpt'
        write_atomically(path, 'old')
        path.parent.chmod(0o555)
        found = subprocess.run([sys.executable, '-c', program, str(path)], capture_output=True, text=True)
        assert found.stdout.strip() == str(path), found.stderr
        assert path.read_text() == 'old'
        assert os.listdir(folder) == ['last.ckpt']
        path.parent.chmod(0o755)


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    path = tmp_path / 'last[1].ckpt'
    write_atomically(path, 'old')
    assert subprocess.run([sys.executable, '-c', KILLED, str(path)]).returncode == -9
    left = sorted(os.listdir(tmp_path))
    assert len(left) == 2 and left[0].startswith('.last[1].ckpt.') and left[0].endswith('.partial')
    assert path.read_text() == 'old'
    write_atomically(tmp_path / 'other', '')  # Another file's writer leaves it alone.
    assert left[0] in os.listdir(tmp_path)
    write_atomically(path, 'new')
    assert sorted(os.listdir(tmp_path)) == ['last[1].ckpt', 'other']
    assert path.read_text() == 'new'


def test_a_writer_at_work_keeps_its_partial_file(tmp_path):
    path = tmp_path / 'file'
    with subprocess.Popen([sys.executable, '-c', WAITING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as slow:
        assert slow.stdout.readline() == 'written\n'
        write_atomically(path, 'quick')
        assert path.read_text() == 'quick'
        slow.communicate('\n')
    assert slow.returncode == 0
    assert path.read_text() == 'slow'
    assert os.listdir(tmp_path) == ['file']


def test_what_cannot_be_encoded_leaves_the_old_file(tmp_path):
    path = tmp_path / 'file.txt'
    write_atomically(path, 'old')
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, '\ud800')
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['file.txt']


def test_the_file_is_flushed_before_the_rename_and_the_folder_after_it(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    flushed = []

    def flush(handle, real=os.fsync):
        flushed.append((os.readlink(f'/proc/self/fd/{handle}'), path.exists()))
        real(handle)

    monkeypatch.setattr(os, 'fsync', flush)
    write_atomically(path, 'content')
    (partial, before), folder = flushed
    assert partial.endswith('.partial') and not before
    assert folder == (str(tmp_path), True)
