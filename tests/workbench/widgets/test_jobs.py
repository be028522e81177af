"""Work beside the notebook: in turn, newest first, stopped between pieces, and gone with its view."""

import gc
import logging
import random
import subprocess
import sys
import threading
import time
import weakref

import pytest

from workbench.errors import PanelError, RunError
from workbench.widgets.jobs import Jobs
from workbench.widgets.tasks import StoppedError, words_of
from workbench.widgets.telling import Teller

QUICK = 10.0  # seconds after which a test gives up


@pytest.fixture
def seen():
    return []


@pytest.fixture
def jobs(seen):
    found = Jobs(seen.append)
    yield found
    found.close(wait=QUICK)


def until(holds):
    end = time.monotonic() + QUICK
    while not holds():
        assert time.monotonic() < end, "this never came to hold"
        time.sleep(0.002)


def of(seen, job):
    return [event for event in seen if event.get("job") == job and event["event"] == "job"]


# Long work


def test_long_jobs_run_one_after_the_other_in_the_order_in_which_they_came(jobs, seen):
    order = []

    def work(task):
        order.append(("begins", task.id))
        time.sleep(0.01)
        order.append(("ends", task.id))

    numbers = [jobs.start("work", work) for _ in range(4)]
    jobs.wait(numbers[-1])
    assert order == [(what, number) for number in numbers for what in ("begins", "ends")]
    assert [event["state"] for number in numbers for event in of(seen, number)] == ["running", "done"] * 4
    assert not jobs.busy


def test_a_job_is_stopped_before_its_next_piece(jobs, seen):
    done = []

    def work(task):
        for rows in task.pieces(1_000_000, 10):
            done.append(rows)
            time.sleep(0.001)

    number = jobs.start("compute", work)
    until(lambda: len(done) > 3)
    jobs.stop(number)
    assert jobs.wait(number)["state"] == "stopped"
    last = of(seen, number)[-1]
    assert (last["state"], last["words"], last["of"]) == ("stopped", "Stopped.", 1_000_000)
    assert last["done"] == 10 * len(done)


def test_a_job_that_waits_is_stopped_at_once_and_one_that_has_ended_stays_as_it_is(jobs):
    held = threading.Event()
    first = jobs.start("first", lambda task: held.wait(QUICK) and None)
    second = jobs.start("second", lambda task: pytest.fail("it was stopped before it began"))
    jobs.stop(second)
    assert jobs.look(second)["state"] == "stopped"
    held.set()
    assert jobs.wait(first)["state"] == "done"
    jobs.stop(first)
    assert jobs.look(first)["state"] == "done"
    with pytest.raises(RunError, match="no job 99"):
        jobs.stop(99)


def test_work_may_end_early_with_words_of_its_own(jobs):
    def work(task):
        until(lambda: task.stopped)
        raise StoppedError("Stopped after 3 of 9 steps.")

    number = jobs.start("train", work)
    jobs.stop(number)
    found = jobs.wait(number)
    assert found["state"] == "stopped"
    assert found["words"] in ("Stopped after 3 of 9 steps.", "Stopped.", "Stopped before it began.")


def test_an_error_is_told_in_words_and_logged_with_its_traceback(jobs, caplog):
    def fails(task):
        raise PanelError("There is no row.")

    def breaks(task):
        {}["x"]

    with caplog.at_level(logging.INFO):
        known, unknown = jobs.start("fails", fails), jobs.start("breaks", breaks)
        assert jobs.wait(known)["words"] == "There is no row."
        assert jobs.wait(unknown)["words"] == "This ended with an error that was not foreseen (KeyError): 'x'."
    assert jobs.look(known)["state"] == jobs.look(unknown)["state"] == "failed"
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]
    assert caplog.text.count("Traceback") == 2
    assert 'raise PanelError("There is no row.")' in caplog.text
    assert jobs.wait(jobs.start("next", lambda task: "It goes on."))["words"] == "It goes on."


def test_even_an_exit_or_an_interrupt_inside_a_job_ends_no_thread(jobs, caplog):
    def leaves(task):
        sys.exit(3)

    def interrupts(task):
        raise KeyboardInterrupt

    assert jobs.wait(jobs.start("leaves", leaves))["state"] == "failed"
    assert jobs.wait(jobs.start("interrupts", interrupts))["state"] == "failed"
    assert jobs.wait(jobs.start("next", lambda task: None))["state"] == "done"


def test_a_long_error_is_cut():
    assert len(words_of(PanelError("x" * 10_000))) == 2000


# Telling


def test_what_goes_on_fast_is_told_ten_times_a_second_and_its_end_always(jobs, seen):
    times = []
    jobs._teller._tell = lambda: lambda event: (times.append(time.monotonic()), seen.append(event))

    def work(task):
        end = time.monotonic() + 0.55
        done = 0
        while time.monotonic() < end:
            done += 1
            task.say(done, 10**6)
        return f"{done} done"

    number = jobs.start("fast", work)
    found = jobs.wait(number)
    told = of(seen, number)
    assert told[-1]["words"] == found["words"] == f"{told[-1]['done']} done"
    assert 3 <= len(told) <= 10
    assert [event["done"] for event in told] == sorted(event["done"] for event in told)


def test_the_last_that_is_said_before_a_long_piece_is_told_during_it(jobs, seen):
    held = threading.Event()

    def work(task):
        task.say(1, 2, "training")
        task.say(2, 2, "comparing")
        held.wait(QUICK)

    number = jobs.start("train", work)
    until(lambda: seen and seen[-1]["words"] == "comparing")
    held.set()
    jobs.wait(number)


def test_events_of_a_job_come_before_its_end_and_in_packets(jobs, seen):
    collected = []

    def packet():
        if not collected:
            return None
        taken = collected[:]
        del collected[: len(taken)]
        return {"event": "steps", "steps": taken}

    def work(task):
        for step in range(5000):
            collected.append(step)
            task.gather(packet)
        task.tell({"event": "compared", "fixed": 3})

    number = jobs.start("train", work)
    jobs.wait(number)
    steps = [event for event in seen if event["event"] == "steps"]
    assert [step for event in steps for step in event["steps"]] == list(range(5000))
    assert len(steps) < 50
    assert [event["event"] for event in seen][-2:] == ["compared", "job"]
    assert {event["job"] for event in seen} == {number}


def test_a_page_that_is_gone_keeps_no_work_from_going_on():
    def tell(event):
        raise RuntimeError("comm closed")

    jobs = Jobs(tell)
    assert jobs.wait(jobs.start("work", lambda task: None))["state"] == "done"
    jobs.close(wait=QUICK)


def test_a_teller_that_is_closed_has_told_everything(seen):
    teller = Teller(seen.append)
    for number in range(100):
        teller.soon(number, lambda number=number: {"number": number})
    teller.close(wait=QUICK)
    assert sorted(event["number"] for event in seen) == list(range(100))


# Quick answers


def held_up(jobs):
    """Keep the thread of quick answers busy; returns what lets it go."""
    begun, go = threading.Event(), threading.Event()
    jobs.ask(lambda: (begun.set(), go.wait(QUICK)))
    assert begun.wait(QUICK)
    return go


def test_the_newest_request_is_answered_first_and_what_is_written_keeps_its_order(jobs):
    order, go = [], held_up(jobs)
    for name in ("page 1", "stroke 1", "page 2", "stroke 2", "undo", "page 3"):
        jobs.ask(lambda name=name: order.append(name), in_turn=not name.startswith("page"))
    go.set()
    until(lambda: len(order) == 6)
    assert order == ["stroke 1", "stroke 2", "undo", "page 3", "page 2", "page 1"]


def test_a_request_takes_the_place_of_those_of_its_name_that_have_not_begun(jobs):
    order, dropped, go = [], [], held_up(jobs)
    for number in range(5):
        for name in ("page", "maps"):
            jobs.ask(
                lambda number=number, name=name: order.append((name, number)),
                instead=name,
                dropped=lambda number=number, name=name: dropped.append((name, number)),
            )
    go.set()
    until(lambda: len(order) == 2)
    assert order == [("maps", 4), ("page", 4)]
    assert sorted(dropped) == sorted((name, number) for number in range(4) for name in ("page", "maps"))


def test_quick_answers_are_given_while_a_long_job_runs(jobs):
    held, answered = threading.Event(), threading.Event()
    number = jobs.start("long", lambda task: held.wait(QUICK) and None)
    jobs.ask(answered.set)
    assert answered.wait(QUICK)
    assert jobs.look(number)["state"] == "running"
    held.set()


def test_a_request_that_fails_keeps_no_other_from_being_answered(jobs, caplog):
    answered = threading.Event()
    jobs.ask(lambda: {}["x"])
    jobs.ask(answered.set)
    assert answered.wait(QUICK)
    until(lambda: "A request of the page failed" in caplog.text)


# The end


def test_closing_stops_what_runs_drops_what_waits_and_ends_the_threads(jobs):
    dropped, begun = [], threading.Event()

    def work(task):
        begun.set()
        for _ in task.pieces(10**9, 1):
            pass

    running, waiting = jobs.start("runs", work), jobs.start("waits", lambda task: None)
    go = held_up(jobs)
    jobs.ask(lambda: None, dropped=lambda: dropped.append(1))
    assert begun.wait(QUICK)
    threading.Timer(0.05, go.set).start()
    jobs.close(wait=QUICK)
    assert jobs.closed
    assert (jobs.look(running)["state"], jobs.look(waiting)["state"], dropped) == ("stopped", "stopped", [1])
    assert not any(thread.is_alive() for thread in jobs._desk.threads)
    jobs.close()
    with pytest.raises(RunError, match="closed"):
        jobs.start("late", lambda task: None)
    with pytest.raises(RunError, match="closed"):
        jobs.ask(lambda: None)


def test_a_view_that_nobody_holds_is_collected_and_its_threads_end():
    class View:
        def __init__(self):
            self.told = []
            self.jobs = Jobs(self.tell)

        def tell(self, event):
            self.told.append(event)

        def work(self, task):
            task.say(1, 1)

        def answer(self):
            return self

    view = View()
    view.jobs.wait(view.jobs.start("work", view.work))
    assert view.told[-1]["state"] == "done"
    done = threading.Event()
    view.jobs.ask(view.answer)
    view.jobs.ask(done.set)
    assert done.wait(QUICK)
    threads = [*view.jobs._desk.threads, view.jobs._teller._desk.thread]
    held = weakref.ref(view)
    del view
    until(lambda: gc.collect() is not None and held() is None)
    until(lambda: not any(thread.is_alive() for thread in threads))


@pytest.mark.parametrize("stubborn", [False, True])
def test_the_interpreter_exits_though_a_job_runs(stubborn):
    body = "time.sleep(1000)" if stubborn else "[None for _ in task.pieces(10**9, 1)]"
    code = f"""
import threading, time
from workbench.widgets.jobs import Jobs
begun = threading.Event()
def work(task):
    begun.set()
    {body}
jobs = Jobs(lambda event: None)
jobs.start("long", work)
jobs.ask(lambda: None)
assert begun.wait(60)
print("ends", time.monotonic(), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_many_threads_that_ask_begin_stop_and_close_leave_nothing_behind(seed):
    """Whatever comes in whatever order, each job ends in one state that is told, and each request once or never."""
    chance, seen = random.Random(seed), []
    jobs = Jobs(seen.append)
    started, answers, drops, refused = [], [], [], []

    def work(task):
        fails = task.id % 7 == 0
        for _ in task.pieces(task.id % 30, 3):
            if fails and task.id % 14 == 0:
                raise PanelError("It fails.")

    def act(number):
        mine = random.Random(seed * 1000 + number)
        for turn in range(60):
            try:
                what = mine.random()
                if what < 0.3:
                    started.append(jobs.start("work", work))
                elif what < 0.5 and started:
                    jobs.stop(mine.choice(started[-20:]))
                else:
                    name = (number, turn)
                    jobs.ask(
                        lambda name=name: answers.append(name),
                        instead=mine.choice(["", "page", "maps"]),
                        in_turn=mine.random() < 0.2,
                        dropped=lambda name=name: drops.append(name),
                    )
            except RunError:
                refused.append(number)
            if mine.random() < 0.05:
                time.sleep(0.001)

    logging.getLogger("workbench.widgets.jobs").setLevel(logging.CRITICAL)
    threads = [threading.Thread(target=act, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    if chance.random() < 0.5:
        time.sleep(0.02)
        jobs.close()
    for thread in threads:
        thread.join(QUICK)
    early = jobs.closed
    if not early:
        for job in started:
            assert jobs.wait(job)["state"] != "running"
        until(lambda: not jobs._desk.newest and not jobs._desk.in_turn)
    jobs.close(wait=QUICK)
    logging.getLogger("workbench.widgets.jobs").setLevel(logging.NOTSET)
    assert not any(thread.is_alive() for thread in [*threads, *jobs._desk.threads, jobs._teller._desk.thread])
    assert len(answers) == len(set(answers))
    assert not set(answers) & set(drops)
    for job in jobs._tasks:
        ends = [event["state"] for event in of(seen, job) if event["state"] != "running"]
        assert jobs.look(job)["state"] in ("done", "stopped", "failed")
        # What ends when its view is closed already, nobody is told.
        assert len(ends) <= 1
        if not early:
            assert of(seen, job)[-1]["state"] == jobs.look(job)["state"]
