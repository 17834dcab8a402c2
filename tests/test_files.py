import errno
import os
import shutil
from pathlib import Path

import pytest

from chaperonin.errors import ChaperoninError, UsageError
from chaperonin.files import atomic_file, disk_errors, require_room, write_atomically


def test_a_file_is_written_whole_and_nothing_else_stays(tmp_path):
    write_atomically(tmp_path / "a.txt", "é\n")
    write_atomically(tmp_path / "a.txt", b"\xff")
    assert (tmp_path / "a.txt").read_bytes() == b"\xff"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), atomic_file(path) as temporary:
        temporary.write_text("new")
        raise KeyError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch, number):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(self, content):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ChaperoninError, match="no space left") as caught:
        write_atomically(path, "new")
    assert caught.value.where == str(path)
    assert path.read_text() == "old"


def test_a_full_disk_under_hdf5_is_understood(tmp_path):
    for error in (RuntimeError("cannot close (errno = 28, error message = 'No')"), OSError("errno = 28,")):
        with pytest.raises(ChaperoninError, match="no space left"), disk_errors(tmp_path):
            raise error


def test_a_read_only_place_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="Read-only file system"), disk_errors(tmp_path):
        raise OSError(errno.EROFS, "x")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "x"), RuntimeError("x"), ValueError("x")])
def test_other_errors_pass_as_they_are(tmp_path, error):
    with pytest.raises(type(error)) as caught, disk_errors(tmp_path):
        raise error
    assert caught.value is error


def test_a_disk_without_room_is_refused_with_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 5_000_000)
    )
    require_room(tmp_path, 5_000_000)
    with pytest.raises(
        UsageError, match=r"need 7\.0 MB of disk, and 5\.0 MB are free\. Free some space"
    ) as caught:
        require_room(tmp_path, 7_000_000)
    assert caught.value.where == str(tmp_path)
