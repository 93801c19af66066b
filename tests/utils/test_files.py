"""Writing: a file is complete or absent, and an existing run is not lost."""

import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from gcc.artifacts.run_folder import claim, require_free
from gcc.errors import OutputError
from gcc.utils.files import FolderLock, fresh_folder, replacing, replacing_all, require_empty, write_text


def test_new_files_have_the_permissions_that_the_user_grants(tmp_path):
    code = """import pathlib, stat
from gcc.utils.files import replacing_all, write_text
write_text(pathlib.Path("file"), "text")
with replacing_all([pathlib.Path("folder")]) as fresh:
    (fresh / "folder").mkdir()
    (fresh / "folder" / "inner").write_text("text")
print(*(oct(stat.S_IMODE(pathlib.Path(name).stat().st_mode)) for name in ("file", "folder", "folder/inner")))"""
    for mask, modes in ((0o022, "0o644 0o755 0o644"), (0o077, "0o600 0o700 0o600"), (0o002, "0o664 0o775 0o664")):
        folder = tmp_path / oct(mask)
        folder.mkdir()
        run = subprocess.run([sys.executable, "-c", code], cwd=folder, umask=mask, capture_output=True, text=True, check=True)
        assert run.stdout.strip() == modes


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with pytest.raises(KeyError), replacing(path) as fresh:
        fresh.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_files_are_written_where_folders_cannot_be_opened_as_on_windows(tmp_path, monkeypatch):
    opened = os.open

    def refusing(path, *args, **options):
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(os, "open", refusing)
    monkeypatch.setattr(sys, "platform", "win32")
    write_text(tmp_path / "file", "text")
    with replacing_all([tmp_path / "folder"]) as fresh:
        (fresh / "folder").mkdir()
    assert (tmp_path / "file").read_text() == "text" and (tmp_path / "folder").is_dir()


def test_names_that_are_no_text_are_written_as_numbers(tmp_path):
    write_text(tmp_path / "file", "run\udcff")
    assert (tmp_path / "file").read_text() == "run\\udcff"


def test_what_the_system_refuses_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write .*file/inside"):
        write_text(tmp_path / "file" / "inside", "")
    with pytest.raises(OutputError, match="cannot write"):
        claim(tmp_path / "file", needs=0)


def test_a_file_elsewhere_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "out").mkdir()
    absent = tmp_path / "in" / "absent"
    with pytest.raises(OutputError, match=rf"cannot write .*out/file: No such file or directory: {absent}; check this file's"):
        with replacing(tmp_path / "out" / "file") as fresh:
            shutil.copyfile(absent, fresh)
    with pytest.raises(OutputError, match=r"out/file: No such file or directory; check the disk's space"):
        with replacing(tmp_path / "out" / "file") as fresh:
            fresh.with_name("sub").joinpath("other").write_text("")
    assert not list((tmp_path / "out").iterdir())


def test_a_read_only_folder_is_refused_at_once():
    with pytest.raises(OutputError, match="cannot write /proc/run"):
        claim(Path("/proc/run"), needs=0)


def test_a_full_disk_is_refused_at_once(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1_000_000))
    claim(tmp_path, needs=1_000_000)
    with pytest.raises(OutputError, match="1 MB free, and the run will write about 5 MB"):
        claim(tmp_path, needs=5_000_000)


def a_run(folder):
    (folder / "student").mkdir(parents=True)
    (folder / "student" / "model.safetensors").write_text("precious")
    (folder / "recipe.toml").write_text("")
    (folder / "notes.txt").write_text("mine")
    return folder


def test_a_held_run_is_refused_unless_forced(tmp_path):
    with pytest.raises(OutputError, match=r"already contains a run \(recipe.toml, student\): choose another `out`, .*`force`"):
        require_free(a_run(tmp_path), force=False, inputs=[])
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "command.json").write_text('{"command": "train"}')
    with pytest.raises(OutputError, match=rf"checkpoints, student\): continue it with `gcc train --resume {tmp_path}`, choose"):
        require_free(tmp_path, force=False, inputs=[])
    require_free(tmp_path, force=True, inputs=[])
    require_free(tmp_path / "new", force=False, inputs=[tmp_path])
    assert not (tmp_path / "new").exists()


def test_a_held_run_is_moved_aside_whole(tmp_path):
    assert claim(tmp_path / "new", needs=0) is None
    for number in ("replaced", "replaced-2"):
        assert claim(a_run(tmp_path / "run") if number == "replaced" else tmp_path / "run", needs=0) == tmp_path / "run" / number
        assert (tmp_path / "run" / number / "student" / "model.safetensors").read_text() == "precious"
        assert (tmp_path / "run" / "notes.txt").exists() and not (tmp_path / "run" / "student").exists()
        (tmp_path / "run" / "notes.txt").unlink()
        a_run(tmp_path / "run")


def test_the_report_of_a_run_is_moved_aside_with_it(tmp_path):
    (a_run(tmp_path) / "report.html").write_text("precious")
    aside = claim(tmp_path, needs=0)
    assert (aside / "report.html").read_text() == "precious" and not (tmp_path / "report.html").exists()


def test_folders_of_the_same_names_that_are_no_run_are_left_alone(tmp_path):
    (tmp_path / "samples").mkdir()
    for force in (False, True):
        with pytest.raises(OutputError, match=r"contains samples and no recipe\.toml"):
            require_free(tmp_path, force=force, inputs=[])


def test_what_the_run_reads_stays_where_it_is(tmp_path):
    (tmp_path / "teacher").mkdir()
    (tmp_path / "recipe.toml").write_text("")
    with pytest.raises(OutputError, match="teacher, which this run reads"):
        require_free(tmp_path, force=True, inputs=[tmp_path.parent, tmp_path / "student" / ".." / "teacher"])
    with pytest.raises(OutputError, match="is what this run reads"):
        require_free(tmp_path / "data", force=False, inputs=[tmp_path / "data"])


def test_the_default_folder_is_numbered(tmp_path):
    assert fresh_folder(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert fresh_folder(tmp_path / "run") == tmp_path / "run-3"


HOLDER = """
import os, pathlib, sys, time
from gcc.utils.files import FolderLock
lock = FolderLock(pathlib.Path(sys.argv[1]))
locked = lock.acquire()
if os.fork() == 0:
    print(locked, flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has locked the folder, and has a child of its own."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stdout.readline() == "True\n"
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def test_a_folder_is_locked_by_one_process_until_it_dies_and_nothing_is_left(holder, tmp_path):
    lock = FolderLock(tmp_path)
    assert not lock.acquire()
    holder.kill()
    holder.wait()
    # Its child lives on, without the lock.
    assert lock.acquire() and lock.acquire() and list(tmp_path.iterdir()) == []
    assert not FolderLock(tmp_path).acquire()
    lock.release()
    lock.release()
    assert FolderLock(tmp_path).acquire()


@pytest.mark.parametrize("refuse", [require_empty, lambda out: require_free(out, force=False, inputs=[])])
def test_a_folder_below_a_file_is_refused(refuse, tmp_path):
    (tmp_path / "photo.png").touch()
    with pytest.raises(OutputError, match=r"photo\.png is a file: expected a folder, which need not exist yet"):
        refuse(tmp_path / "photo.png")
    with pytest.raises(OutputError, match=r"photo\.png is a file, so .*photo\.png/a/b cannot be written: expected a folder"):
        refuse(tmp_path / "photo.png" / "a" / "b")
    refuse(tmp_path / "a" / "b")
