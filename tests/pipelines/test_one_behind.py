"""One job runs while the next is made; order, results and errors stay."""

import threading
from functools import partial

import pytest

from services.pipelines.one_behind import one_behind

SECONDS = 20.0


def test_results_come_in_order() -> None:
    assert list(one_behind(partial(pow, n, 2) for n in range(5))) == [0, 1, 4, 9, 16]


def test_a_job_runs_while_the_next_is_made() -> None:
    next_is_being_made = threading.Event()

    def jobs():
        yield lambda: next_is_being_made.wait(SECONDS)  # would wait in vain were it run before the next is asked for
        next_is_being_made.set()
        yield lambda: True

    assert list(one_behind(jobs())) == [True, True]


def test_what_a_job_raises_is_raised_and_later_jobs_do_not_run() -> None:
    ran = []

    def broken() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(one_behind([partial(ran.append, 1), broken, partial(ran.append, 3)]))
    assert ran == [1]
