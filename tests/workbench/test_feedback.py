import multiprocessing
import os
import pickle
import sqlite3
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from workbench.errors import FeedbackBusyError, FeedbackError
from workbench.feedback import VERDICTS, Feedback, ImageRegion, Record, TextRegion, rationale

MARK = ImageRegion.box(1, 1, 2, 2, size=(4, 5))


@pytest.fixture
def log(tmp_path):
    with Feedback(tmp_path / "feedback.db", author="ada") as log:
        yield log


def outside_of_the_program(log):
    return sqlite3.connect(log.path, isolation_level=None)


# What is said is there


def test_what_was_said_is_found_again_with_who_when_and_of_which_model(log):
    before = datetime.now(UTC)
    shown = {"method": "gradient", "target": {"class": "drei"}, "scale": 0.5}
    painted, other = log.mark("p/1", irrelevant=MARK.mask(), relevant=~MARK.mask(), model="m7", shown=shown)
    log.correct("p/1", "Käfer", author="bob")
    log.judge("p/1", VERDICTS[1], shown=shown)
    log.note("p/2", "zu dunkel 🦉\nund schief")
    log.tag("p/2", "dark")
    log.close()
    again = Feedback(log.path, author="cyd")
    found = again.records()
    assert [r.id for r in found] == [1, 2, 3, 4, 5, 6]
    assert found[:2] == [painted, other]
    assert [r.kind for r in found] == ["rationale", "rationale", "label", "verdict", "note", "tag"]
    assert found[0].region == MARK
    assert found[1].region.size == 16
    assert (found[0].model, found[0].shown, found[0].how, found[0].column) == ("m7", shown, "painted", "image")
    assert [r.author for r in found] == ["ada", "ada", "bob", "ada", "ada", "ada"]
    assert found[4].body == {"text": "zu dunkel 🦉\nund schief"}
    times = [datetime.fromisoformat(r.time) for r in found]
    assert before <= times[0] <= times[-1] <= datetime.now(UTC)
    assert len({r.uid for r in found}) == 6
    again.close()


def test_records_are_chosen_by_kind_row_author_and_so_on(log):
    log.mark("a", irrelevant=MARK)
    log.mark("b", irrelevant=[(0, 3)], column="text", how="simulated")
    log.correct("b", "owl", author="bob")
    assert [r.id for r in log.records(kind="rationale")] == [1, 2]
    assert [r.id for r in log.records(key="b")] == [2, 3]
    assert [r.id for r in log.records(author="bob")] == [3]
    assert [r.id for r in log.records(how="simulated", key="b")] == [2]
    assert [r.id for r in log.records(column="text")] == [2]
    with pytest.raises(FeedbackError, match="`kind` must be one of"):
        log.records(kind="mark")


def test_many_records_are_one_write_or_none(log):
    (painted,) = log.mark("a", irrelevant=MARK)
    copies = [
        rationale(f"c/{i}", "irrelevant", MARK, how="propagated", source=painted.id, author="ada") for i in range(500)
    ]
    written = log.write(copies)
    assert [r.id for r in written] == list(range(2, 502))
    assert {r.source for r in log.records(how="propagated")} == {1}
    with pytest.raises(FeedbackError, match="`verdict` must be one of"):
        log.write([copies[0], Record("verdict", "a", {"verdict": "fine"})])
    with pytest.raises(FeedbackError, match="`source` must be the id of a record that is there, up to 502; got 900"):
        log.write([copies[0], replace(copies[0], source=900)])
    with pytest.raises(FeedbackError, match="in a log already"):
        log.write(written[:1])
    assert log.write([]) == ()
    assert log.version == len(log) == 501
    log.undo()
    assert [r.id for r in log.records()] == [1]


def test_a_body_that_is_changed_between_two_records_is_written_as_it_was_for_each(log):
    body = {"tag": ""}

    def several():
        for number in range(4):
            body["tag"] = f"t{number // 2}"
            yield Record("tag", f"p/{number}", body)

    log.write(several())
    assert [record.body["tag"] for record in log.records()] == ["t0", "t0", "t1", "t1"]
    with pytest.raises(FeedbackError, match="`key` must be text"):
        log.write([Record("tag", key, body) for key in ("a", "")])


def test_an_earlier_version_stays_as_it_was_and_takes_nothing(log):
    log.mark("a", irrelevant=MARK)
    log.tag("a", "odd")
    then = log.at(2)
    log.undo(1)
    log.mark("b", irrelevant=MARK)
    assert then.version == 2
    assert list(then.regions()) == ["a"]
    assert list(log.regions()) == ["b"]
    assert log.at(0).records(standing=False) == []
    with pytest.raises(FeedbackError, match=r"Versions of the log lie in \[0, 4\]; got 5"):
        log.at(5)
    for say in (lambda: then.tag("a", "x"), lambda: then.undo(1), lambda: then.redo()):
        with pytest.raises(FeedbackError, match="as it was at version 2"):
            say()


def test_standing_records_are_counted_and_their_rows_found_without_reading_them(log):
    log.mark("a", irrelevant=MARK, relevant=MARK.mask() ^ True)
    log.mark("b", irrelevant=MARK)
    log.tag("a", "odd")
    log.tag("c", "odd", author="bob")
    log.undo(3)
    log.undo(5)
    log.undo(7)
    with outside_of_the_program(log) as other:
        other.execute(
            "INSERT INTO records (act, uid, kind, key, author, time, how, body) "
            "VALUES (9, 'u', 'note', 'd', 'bob', '2026-01-01T00:00:00+00:00', 'painted', 'garbage')"
        )
    other.close()
    assert log.counts() == {"note": 1, "rationale": 2, "tag": 2}
    assert (log.keys(), log.keys("tag"), log.keys("label")) == ({"a"}, {"a", "c"}, set())
    assert log.at(4).counts() == {"rationale": 3, "tag": 1}
    assert log.at(4).keys() == {"a", "b"}
    assert log.at(0).counts() == {}
    with pytest.raises(FeedbackError, match="`kind` must be one of"):
        log.keys("mark")


def test_what_is_said_in_a_transaction_is_one_write_or_none(log):
    with log.transaction() as inside:
        inside.tag("a", "odd")
        log.mark("b", irrelevant=MARK)
        assert log.version == 2
        with pytest.raises(FeedbackError, match="up to 3; got 9"):
            log.write([Record("tag", "c", {"tag": "x"}), Record("tag", "c", {"tag": "x"}, source=9)])
        log.undo(1)
    assert [r.id for r in log.records()] == [2]

    def fail():
        with log.transaction():
            log.tag("a", "odd")
            log.undo(2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert log.version == 3
    assert [r.id for r in log.records()] == [2]
    with pytest.raises(FeedbackError, match="as it was at version 1"), log.at(1).transaction():
        pass


# Undo and redo


def test_undo_takes_back_the_whole_last_act_of_its_author_and_redo_brings_it_back(log):
    log.mark("a", irrelevant=MARK)
    log.mark("b", irrelevant=MARK, relevant=MARK.mask() ^ True)
    log.tag("c", "odd", author="bob")
    assert log.undo().of == (2, 3)
    assert log.undo().of == (1,)
    assert [r.id for r in log.records()] == [4]
    with pytest.raises(FeedbackError, match="nothing by 'ada' that still stands"):
        log.undo()
    log.redo()
    assert [r.id for r in log.records()] == [1, 4]
    log.redo()
    assert [r.id for r in log.records()] == [1, 2, 3, 4]
    with pytest.raises(FeedbackError, match="no undo by 'ada'"):
        log.redo()
    assert log.undo(author="bob").of == (4,)


def test_an_undo_of_one_row_says_which_and_of_several_rows_says_none(log):
    log.mark("a", irrelevant=MARK)
    log.tag("b", "odd")
    assert log.undo([1]).key == "a"
    assert log.undo(2).column is None
    assert log.undo([3, 4]).key == ""
    assert [r.id for r in log.records()] == [1, 2]


@pytest.mark.parametrize(
    ("what", "words"),
    [(7, "no record 7 to take back; the log has 2"), (1, r"taken back already, by 2; to have it back, undo\(2\)"),
     (0, "a number of a record, from 1; got 0"), ([], "at least one"), ("1", "at least one"), (1.5, "at least one"),
     (Record("tag", "a", {"tag": "x"}), "at least one")],
)  # fmt: skip
def test_what_cannot_be_taken_back_is_told(log, what, words):
    log.tag("a", "odd")
    log.undo(1)
    with pytest.raises(FeedbackError, match=words):
        log.undo(what)
    assert log.version == 2


class LikeAPlainModel(RuleBasedStateMachine):
    """Two authors mark, take back and bring back; a list and a few loops tell what must stand."""

    def __init__(self):
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.log = Feedback(Path(self.place.name) / "feedback.db", author="ada")
        self.said = []  # (id, act, author, key or None, box or None, what an undo takes back)

    def teardown(self):
        self.log.close()
        self.place.cleanup()

    def stands(self, number):
        return not any(number in of and self.stands(n) for n, *_, of in self.said)

    @rule(
        author=st.sampled_from("ab"),
        keys=st.lists(st.sampled_from("xyz"), min_size=1, max_size=3),
        left=st.integers(0, 3),
    )
    def mark(self, author, keys, left):
        box = ImageRegion.box(0, left, 2, 2, size=(3, 5))
        written = self.log.write([rationale(key, "irrelevant", box, author=author) for key in keys])
        act = len(self.said) + 1
        for record in written:
            self.said.append((record.id, act, author, record.key, box, ()))

    @rule(author=st.sampled_from("ab"))
    def undo(self, author):
        mine = [(n, act) for n, act, who, key, *_ in self.said if who == author and key and self.stands(n)]
        if not mine:
            with pytest.raises(FeedbackError, match="nothing to take back"):
                self.log.undo(author=author)
            return
        of = tuple(n for n, act in mine if act == mine[-1][1])
        record = self.log.undo(author=author)
        assert record.of == of
        self.said.append((record.id, record.id, author, None, None, of))

    @rule(author=st.sampled_from("ab"))
    def redo(self, author):
        undos = {n for n, *_, of in self.said if of}
        mine = [n for n, _, who, *_, of in self.said if who == author and of and not undos & set(of) and self.stands(n)]
        if not mine:
            with pytest.raises(FeedbackError, match="no undo by"):
                self.log.redo(author=author)
            return
        record = self.log.redo(author=author)
        assert record.of == (mine[-1],)
        self.said.append((record.id, record.id, author, None, None, record.of))

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def undo_any(self, data):
        number = data.draw(st.sampled_from([n for n, *_ in self.said]))
        if not self.stands(number):
            with pytest.raises(FeedbackError, match="taken back already"):
                self.log.undo(number)
            return
        record = self.log.undo(number)
        self.said.append((record.id, record.id, "ada", None, None, (number,)))

    @invariant()
    def what_stands_is_what_the_model_says(self):
        standing = [(n, who, key, box) for n, _, who, key, box, _ in self.said if key and self.stands(n)]
        assert [r.id for r in self.log.records()] == [n for n, *_ in standing]
        last = {(key, who): (n, box) for n, who, key, box in standing}
        for rule_ in ("latest", "union"):
            wanted = {}
            for key in {key for key, _ in last}:
                boxes = [box for _, box in sorted((v for (k, _), v in last.items() if k == key), key=lambda v: v[0])]
                masks = np.stack([box.mask() for box in boxes])
                wanted[key] = ImageRegion.from_mask(masks[-1] if rule_ == "latest" else masks.any(axis=0))
            assert self.log.regions(rule=rule_) == wanted
        assert self.log.version == len(self.said)


TestLikeAPlainModel = LikeAPlainModel.TestCase
TestLikeAPlainModel.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)


# What is refused on the way in


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (lambda log: log.mark("", irrelevant=MARK), "`key` must be text, at least one character; got ''"),
        (lambda log: log.mark(7, irrelevant=MARK), "`key` must be text"),
        (lambda log: log.mark("k" * 5000, irrelevant=MARK), "4,096 characters at most; got 5,000"),
        (lambda log: log.mark("\ud800", irrelevant=MARK), "UTF-8"),
        (lambda log: log.mark("a"), "got neither"),
        (lambda log: log.mark("a", irrelevant=MARK, relevant=MARK), "both irrelevant and relevant; 4 of it is"),
        (lambda log: log.mark("a", irrelevant=MARK, relevant=np.ones((2, 2), bool)), "4×5 pixels and one of 2×2"),
        (lambda log: log.mark("a", irrelevant=MARK, column=None), "which column"),
        (lambda log: log.mark("a", irrelevant=MARK, how="guessed"), "`how` must be one of"),
        (lambda log: log.mark("a", irrelevant=MARK, shown={"at": float("nan")}), "`shown`.*JSON.*not JSON compliant"),
        (lambda log: log.mark("a", irrelevant=MARK, shown={"at": np.int64(3)}), "`shown`.*JSON"),
        (lambda log: log.mark("a", irrelevant=MARK, shown=[1]), "`shown` must say"),
        (lambda log: log.mark("a", irrelevant=MARK, shown={"x": "\udfff"}), "`shown`.*JSON"),
        (lambda log: log.judge("a", "right"), "`verdict` must be one of"),
        (lambda log: log.correct("a", 3), "`label` must be text"),
        (lambda log: log.note("a", ""), "`text` must be text"),
        (lambda log: log.note("a", "x" * (65 << 20)), "67,108,864 characters at most"),
        (lambda log: log.tag("a", "odd", colour="red"), r"got \['colour'\]"),
        (lambda log: log.write([Record("stroke", "a", {})]), "`kind` must be one of"),
        (lambda log: log.write([Record("tag", "a", {"tag": "x", "y": 1})]), "exactly .'tag'."),
        (lambda log: log.write([Record("tag", "a", {"tag": "x"}, time="yesterday")]), "ISO 8601; got 'yesterday'"),
        (lambda log: log.write([Record("tag", "a", {"tag": "x"}, time="2026-01-01T00:00:00")]), "say its zone"),
        (lambda log: log.write([Record("undo", "", {"of": [1.5]})]), "number of a record"),
        (lambda log: log.write([Record("rationale", "a", {"role": "odd", "region": MARK}, "image")]), "`role`"),
    ],
)  # fmt: skip
def test_what_is_no_feedback_is_refused_and_nothing_is_written(log, say, words):
    with pytest.raises(FeedbackError, match=words):
        say(log)
    assert log.version == 0


def test_odd_text_comes_back_as_it_went_in(log):
    for odd in ("'; DROP TABLE records; --", "a\x00b", "\u202eetirw", "\u00e9", "e\u0301", "<b>", " "):
        log.note(odd, odd, author=odd)
        (record,) = log.records(key=odd)
        assert (record.key, record.author, record.body["text"]) == (odd, odd, odd)
    assert len({r.key for r in log.records()}) == 7


def test_a_time_of_another_zone_is_told_in_utc(log):
    (record,) = log.write([Record("tag", "a", {"tag": "x"}, time="2026-05-01T12:00:00+02:00")])
    assert record.time == "2026-05-01T10:00:00.000000+00:00"


# The file


def test_the_file_takes_no_change_and_no_deletion_from_anybody(log):
    log.tag("a", "odd")
    log.tag("b", "odd")
    with outside_of_the_program(log) as other:
        for statement in (
            "UPDATE records SET author = 'bob'",
            "DELETE FROM records WHERE id = 1",
            "INSERT OR REPLACE INTO records SELECT * FROM records WHERE id = 1",
            "UPDATE log SET identity = ''",
            "DELETE FROM log",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                other.execute(statement)
    other.close()
    assert [r.author for r in log.records()] == ["ada", "ada"]


def test_a_record_that_cannot_be_read_is_named(log):
    log.tag("a", "odd")
    with outside_of_the_program(log) as other:
        other.execute(
            "INSERT INTO records (act, uid, kind, key, author, time, how, body) "
            "VALUES (2, 'u', 'tag', 'b', 'bob', '2026-01-01T00:00:00+00:00', 'painted', '{\"tag\":')"
        )
    other.close()
    with pytest.raises(FeedbackError, match=r"Record 2 of '.*feedback.db' cannot be read"):
        log.records()
    assert [r.id for r in log.records(key="a")] == [1]
    log.undo(2)
    assert [r.id for r in log.records(author="ada")] == [1]


def test_other_files_are_refused_and_left_as_they_are(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to be one of them")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE x (y)")
    database.close()
    newer = tmp_path / "newer.db"
    Feedback(newer).close()
    with sqlite3.connect(newer) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    torn = tmp_path / "torn.db"
    torn.write_bytes(newer.read_bytes()[:3000])
    for path, words in (
        (text, "no log of feedback"), (other, "something else than feedback"), (newer, "version 9; this program reads"),
        (torn, "cannot be used"),
    ):  # fmt: skip
        before = path.read_bytes()
        with pytest.raises(FeedbackError, match=words):
            Feedback(path)
        assert path.read_bytes() == before
    with pytest.raises(FeedbackError, match="A log is a file"):
        Feedback(":memory:")
    with pytest.raises(FeedbackError, match="is a directory"):
        Feedback(tmp_path)
    with pytest.raises(FeedbackError, match="directory of a log must exist"):
        Feedback(tmp_path / "nowhere" / "feedback.db")


def test_an_empty_file_becomes_a_log(tmp_path):
    (tmp_path / "new.db").touch()
    with Feedback(tmp_path / "new.db") as log:
        assert (log.version, log.records(), log.regions()) == (0, [], {})
        assert log.author


def test_a_closed_log_says_so(log):
    log.close()
    with pytest.raises(FeedbackError, match="was closed"):
        log.records()


# Several at once


def test_a_writer_that_does_not_end_is_told_and_readers_do_not_wait_for_it(log):
    log.tag("a", "odd")
    hasty = Feedback(log.path, timeout=0.05)
    with outside_of_the_program(log) as other:
        other.execute("BEGIN IMMEDIATE")
        assert [r.key for r in log.records()] == ["a"]
        assert hasty.version == 1
        with pytest.raises(FeedbackBusyError, match=r"more than 0.05 s; nothing was written"):
            hasty.tag("b", "odd")
        other.execute("ROLLBACK")
    other.close()
    assert hasty.tag("b", "odd").id == 2
    hasty.close()


def test_threads_share_a_log(log):
    def speak(name):
        return [log.tag(f"{name}/{i}", "odd", author=name).id for i in range(20)]

    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(speak, "abcd"))
    assert sorted(i for some in ids for i in some) == list(range(1, 81))
    assert all(some == sorted(some) for some in ids)
    assert len(log.records(author="c")) == 20


def test_threads_that_ended_leave_no_connection_open(log):
    for _ in range(3):
        thread = threading.Thread(target=log.tag, args=("a", "odd"))
        thread.start()
        thread.join()
    assert len(log._store._handles) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_opens_its_own_connection(log):
    log.tag("a", "odd")
    process = os.fork()
    if process == 0:
        log.tag("b", "odd", author="child")
        os._exit(0 if len(log.records()) == 2 else 1)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    log.tag("c", "odd")
    assert [r.author for r in log.records()] == ["ada", "child", "ada"]


def test_a_log_goes_to_another_process_by_its_name(log):
    log.tag("a", "odd")
    copy = pickle.loads(pickle.dumps(log))  # noqa: S301 - our own
    then = pickle.loads(pickle.dumps(log.at(1)))  # noqa: S301 - our own
    copy.tag("b", "odd")
    assert (copy.author, copy.version, then.version, log.version) == ("ada", 2, 1, 2)
    assert copy.identity == log.identity
    copy.close()
    then.close()


def open_and_speak(path, barrier):
    barrier.wait()
    log = Feedback(path, author=str(os.getpid()))
    log.tag("a", "odd")
    log.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_log_that_several_processes_make_at_once_is_one(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    processes = [context.Process(target=open_and_speak, args=(tmp_path / "new.db", barrier)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with Feedback(tmp_path / "new.db") as log:
        assert len({r.author for r in log.records()}) == 4


def test_marks_of_text_and_features_are_regions_as_well(log):
    log.mark("a", irrelevant=[(0, 4)], column="text")
    log.mark("a", irrelevant=np.array([True, False]), column="lab")
    assert log.regions(column="text") == {"a": TextRegion([(0, 4)])}
    assert log.regions(column="lab")["a"].indices == (0,)
    assert log.regions() == {}
