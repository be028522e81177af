"""What other processes that open, close and fork do to a log that this one goes on writing: nothing may be lost."""

import os
import subprocess
import sys
import threading

import pytest

from workbench.errors import FeedbackError
from workbench.feedback import Feedback

COME_AND_GO = """import sqlite3, sys
log = sqlite3.connect(sys.argv[1])
print(*log.execute("{}").fetchone())
log.close()"""
CANNOT_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
THREADS_MAY = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "feedback.db"


def seen_by_another(path, question="SELECT count(*) FROM records"):
    """Let another process open the log, look, and close it: the last to close a file merges what lies beside it."""
    code = COME_AND_GO.format(question)
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_a_log_that_is_opened_twice_keeps_its_locks_when_another_process_comes_and_goes(path):
    log = Feedback(path, author="ada")
    log.note("k/0", "first")
    again = Feedback(path, author="ada")
    assert seen_by_another(path) == "1"
    ids = [log.note(f"k/{number}", "acknowledged").id for number in range(1, 6)]
    assert ids[-1] == 6
    assert seen_by_another(path) == "6"
    assert again.version == 6
    log.close()
    again.close()
    assert seen_by_another(path) == "6"


def test_a_second_thread_does_not_give_up_the_locks_of_the_first(path):
    log = Feedback(path, author="ada")
    log.note("k/0", "first")
    reader = threading.Thread(target=lambda: log.version)
    reader.start()
    reader.join()
    seen_by_another(path)
    for number in range(1, 6):
        log.note(f"k/{number}", "acknowledged")
    assert seen_by_another(path) == "6"
    log.close()


@THREADS_MAY
@CANNOT_FORK
def test_what_a_fork_writes_lasts_when_its_parent_closes_the_log(path):
    log, beside = Feedback(path, author="ada"), Feedback(path, author="bob")
    log.note("k/0", "first")
    told, tell = os.pipe()
    go, start = os.pipe()
    process = os.fork()
    if process == 0:
        log.note("k/1", "by the fork")
        os.write(tell, b".")
        os.read(go, 1)
        written = [log.note(f"k/{number}", "by the fork").id for number in range(2, 12)]
        os._exit(0 if written[-1] == 12 and beside.version == 12 else 1)
    os.read(told, 1)
    log.close()
    beside.close()
    os.write(start, b".")
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert seen_by_another(path) == "12"
    assert seen_by_another(path, "PRAGMA integrity_check") == "ok"


@THREADS_MAY
@CANNOT_FORK
def test_what_the_parent_writes_lasts_when_a_fork_comes_and_goes(path):
    log = Feedback(path, author="ada")
    log.note("k/0", "first")
    process = os.fork()
    if process == 0:
        log.note("k/1", "by the fork")
        log.close()
        os._exit(0)
    os.waitpid(process, 0)
    seen_by_another(path)
    for number in range(2, 7):
        log.note(f"k/{number}", "acknowledged")
    assert seen_by_another(path) == "7"
    log.close()


@THREADS_MAY
@CANNOT_FORK
def test_a_fork_while_another_thread_uses_the_log_is_refused_it_and_told_the_way_out(path, tmp_path):
    log = Feedback(path, author="ada")
    other = Feedback(tmp_path / "other.db", author="ada")
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with log._store.reading() as connection:
            connection.execute("SELECT 1").fetchone()
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(30)
    told, tell = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            log.note("k/0", "by the fork")
        except FeedbackError as error:
            os.write(tell, str(error).encode())
        os._exit(0 if other.note("k/0", "by the fork").id == 1 else 1)
    _, status = os.waitpid(process, 0)
    leave.set()
    thread.join()
    os.close(tell)
    assert os.waitstatus_to_exitcode(status) == 0
    assert "was forked while another thread was using" in (words := os.read(told, 4096).decode())
    assert "spawn" in words
    assert log.note("k/1", "by the parent").id == 1
    log.close()


@pytest.mark.parametrize("content", [b"x", b"hi", b"S" * 511])
def test_a_short_file_of_something_else_is_left_as_it_is(tmp_path, content):
    place = tmp_path / "short"
    place.write_bytes(content)
    with pytest.raises(FeedbackError, match="is no log of feedback; it is left as it is"):
        Feedback(place)
    assert place.read_bytes() == content
