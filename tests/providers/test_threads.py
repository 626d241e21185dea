from __future__ import annotations

import threading

import pytest
import trio

from flare_actors.providers._threads import Job


async def test_a_job_runs_at_once_and_gives_its_result_as_often_as_it_is_asked():
    started = threading.Event()
    job = Job(lambda: started.set() or 7, trio.CapacityLimiter(1))

    assert await trio.to_thread.run_sync(started.wait, 10), "nobody has asked for the result yet"
    assert await job.result() == 7
    assert await job.result() == 7
    assert job.done


async def test_what_a_job_raises_comes_out_where_the_result_is_asked_for():
    limiter = trio.CapacityLimiter(1)
    job = Job(lambda: 1 // 0, limiter)

    with pytest.raises(ZeroDivisionError):
        await job.result()
    assert limiter.borrowed_tokens == 0


async def test_without_a_free_token_nothing_is_started():
    limiter = trio.CapacityLimiter(1)
    gate = threading.Event()
    first = Job(gate.wait, limiter)

    with pytest.raises(trio.WouldBlock):
        Job(lambda: pytest.fail("must not run"), limiter)

    gate.set()
    await first.result()
    assert limiter.borrowed_tokens == 0


async def test_a_system_without_threads_keeps_no_token(monkeypatch):
    def refuse(*_args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", refuse)
    limiter = trio.CapacityLimiter(1)

    with pytest.raises(RuntimeError):
        Job(lambda: None, limiter)
    assert limiter.borrowed_tokens == 0


async def test_cancelling_the_wait_leaves_the_job_alone():
    limiter = trio.CapacityLimiter(1)
    gate = threading.Event()
    job = Job(lambda: gate.wait() and "done", limiter)
    with trio.CancelScope() as scope:
        scope.cancel()
        await job.result()
    gate.set()

    assert await job.result() == "done"


def test_a_job_may_outlive_the_run_that_started_it():
    gate = threading.Event()
    ended = threading.Event()

    def work():
        gate.wait(10)
        ended.set()

    async def main():
        Job(work, trio.CapacityLimiter(1))

    trio.run(main)
    gate.set()

    assert ended.wait(10)
