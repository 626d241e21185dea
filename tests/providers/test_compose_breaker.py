from __future__ import annotations

from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flare_actors.providers.compose.breaker import JITTER, LOST_RACES, Breaker
from flare_actors.providers.compose.settings import Switching


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock, **switching: float) -> Breaker:
    return Breaker(Switching(**switching), clock=clock, random=Random(7))


def test_the_first_failure_breaks_and_the_first_success_mends():
    each = breaker(Clock())
    assert not each.broken

    each.failed()
    assert each.broken
    each.worked()
    assert not each.broken


def test_as_many_failures_in_a_row_as_the_settings_say():
    each = breaker(Clock(), failures=3)
    for _ in range(2):
        each.failed()
    each.worked()
    for _ in range(2):
        each.failed()
    assert not each.broken
    each.failed()
    assert each.broken


def test_the_time_between_probes_doubles_up_to_its_end():
    clock = Clock()
    each = breaker(clock, probe_after_s=10, probe_most_s=25)
    for expected in (10, 20, 25, 25):
        each.failed()
        assert not each.probe_due
        clock.now += expected * JITTER[0] - 0.01
        assert not each.probe_due
        clock.now += expected * (JITTER[1] - JITTER[0]) + 0.02
        assert each.probe_due


def test_while_somebody_probes_nobody_else_does():
    clock = Clock()
    each = breaker(clock)
    each.failed()
    clock.now += 60
    with each.probe():
        assert not each.probe_due
    assert each.probe_due


def test_one_lost_race_is_chance_and_several_are_slowness():
    each = breaker(Clock())
    for _ in range(LOST_RACES - 1):
        each.lost()
    each.worked()
    for _ in range(LOST_RACES - 1):
        each.lost()
    assert not each.broken
    each.lost()
    assert each.broken


class Breaking(RuleBasedStateMachine):
    """Whatever happens: broken is what it says, and a broken one is always probed again in bounded time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.failures = 2
        self.most = 40.0
        self.each = breaker(self.clock, failures=self.failures, probe_after_s=5, probe_most_s=self.most)
        self.row = 0

    @rule()
    def works(self) -> None:
        self.each.worked()
        self.row = 0

    @rule()
    def fails(self) -> None:
        self.each.failed()
        self.row += 1

    @rule(seconds=st.floats(0, 100))
    def waits(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.each.broken)
    @rule()
    def is_probed_in_the_end(self) -> None:
        self.clock.now += self.most * JITTER[1]
        assert self.each.probe_due

    @invariant()
    def is_broken_after_so_many_failures_in_a_row(self) -> None:
        assert self.each.broken == (self.row >= self.failures)
        assert self.each.broken or not self.each.probe_due


TestBreaking = Breaking.TestCase
