"""The echo guard by itself: what it takes for the agent's own voice, and how soon it learns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.actors.echo import FLOOR_DB, PIECE_S, QUIET_DB, STEP, WIDTH, EchoGuard, PlayedLevels
from flare_actors.audio import SILENCE_DB, level_db, levels_db, split_frames
from flare_actors.providers.scripted import tone

RATE = 16_000
CHUNK_S = 0.032


def sound(level: float, seconds: float = CHUNK_S, rate: int = RATE) -> bytes:
    return tone(seconds, rate, hz=1000, level_db=level) if level > SILENCE_DB else bytes(round(seconds * rate) * 2)


@given(pcm=st.binary(max_size=4_000).map(lambda data: data[: len(data) // 2 * 2]), samples=st.integers(1, 700))
def test_the_levels_of_many_pieces_are_the_level_of_each(pcm: bytes, samples: int) -> None:
    each = [level_db(piece) for piece in split_frames(pcm, 2 * samples)]
    assert levels_db(pcm, 2 * samples) == pytest.approx(each, abs=0.001)


# --- What was played ------------------------------------------------------------------------------------------------------


def recent(played: PlayedLevels, now: float, delays: int) -> list[float]:
    """Of one time; empty: it was not heard then."""
    found = played.recent([now], delays)
    return [] if found is None else found[0].tolist()


def test_nothing_played_is_nothing_heard() -> None:
    assert not recent(PlayedLevels(), 5.0, 10)


def test_each_delay_gets_the_loudest_of_four_pieces_and_the_future_is_not_heard_yet() -> None:
    played = PlayedLevels()
    for number, level in enumerate((-70, -60, -50, -20, -40, -30, -10)):
        played.add((number + 0.5) * PIECE_S, sound(level, PIECE_S), RATE)
    assert [round(level) for level in recent(played, 0.11, 3)] == [-20, -20, -60]
    assert [round(level) for level in recent(played, 0.13, 3)] == [-10, -20, -50]


def test_a_room_lets_go_of_a_sound_slowly_and_then_it_is_quiet() -> None:
    played = PlayedLevels()
    played.add(0.0, sound(-20, 0.1), RATE)
    levels = recent(played, 0.3, 5)
    assert list(levels) == sorted(levels), "the older, the louder"
    assert -30 <= levels[0] <= -25
    assert levels[-1] == pytest.approx(-20, abs=0.5)
    assert recent(played, 0.6, 5)
    assert not recent(played, 1.6, 5)


@given(
    speech=st.lists(st.tuples(st.floats(0, 0.3), st.integers(1, 12), st.floats(-50, -5)), min_size=1, max_size=8),
    back=st.floats(0, 1.5),
)
def test_what_was_played_is_never_thought_quieter_than_it_was(
    speech: list[tuple[float, int, float]], back: float
) -> None:
    played, at, pieces = PlayedLevels(), 0.0, []
    for gap, count, level in speech:
        at += gap
        played.add(at, sound(level, count * PIECE_S), RATE)
        pieces += [(at + number * PIECE_S, level) for number in range(count)]
        at += count * PIECE_S
    now = max(0.0, at - back)
    found = recent(played, now, 13) or [SILENCE_DB] * 13
    for delay, bound in enumerate(found):
        newest = now - delay * 2 * PIECE_S
        looked_at = [level for begins, level in pieces if newest - 3 * PIECE_S < begins <= newest - PIECE_S]
        assert bound >= max(looked_at, default=SILENCE_DB) - 1.5, "a tone's own level varies with where it is cut"


def test_what_was_flushed_is_not_played() -> None:
    played = PlayedLevels()
    played.add(0.0, sound(-40, 0.1), RATE)
    played.add(0.1, sound(-10, 0.2), RATE)
    played.cut(0.09)
    assert max(recent(played, 0.25, 10)) == pytest.approx(-40, abs=0.5)


def test_what_stands_still_is_played_later() -> None:
    played = PlayedLevels()
    played.add(0.0, sound(-40, 0.1), RATE)
    played.add(0.1, sound(-10, 0.2), RATE)
    played.pause(0.09)
    assert max(recent(played, 0.25, 10)) == pytest.approx(-40, abs=0.5)
    played.resume(1.09)
    assert max(recent(played, 1.08, 10), default=SILENCE_DB) < -40
    assert recent(played, 1.15, 2)[0] == pytest.approx(-10, abs=0.5)


def test_what_stood_still_and_was_flushed_is_not_played() -> None:
    played = PlayedLevels()
    played.add(0.0, sound(-10, 0.3), RATE)
    played.pause(0.1)
    played.cut(0.5)
    played.resume(1.0)
    assert not recent(played, 2.8, 5)


class OneByOne:
    """``PlayedLevels`` without arrays, and without forgetting what is long ago: one piece after the other."""

    def __init__(self) -> None:
        self._room: dict[int, float] = {}
        self._later: list[float] = []

    def add(self, at: float, pcm: bytes, sample_rate: int) -> None:
        for number, piece in enumerate(split_frames(pcm, 2 * round(PIECE_S * sample_rate)), number_of(at)):
            self._put(number, level_db(piece))

    def _put(self, number: int, level: float) -> None:
        room = self._room
        for each in range(max(room, default=number - 1) + 1, number + 1):
            room[each] = max(SILENCE_DB, room.get(each - 1, SILENCE_DB) - PlayedLevels.RELEASE_DB)
        while room.get(number, level) < level:
            room[number] = level
            number, level = number + 1, level - PlayedLevels.RELEASE_DB

    def cut(self, at: float) -> None:
        self.pause(at)
        self._later = []

    def pause(self, at: float) -> None:
        numbers = [each for each in self._room if each > number_of(at)]
        self._later = [self._room.pop(each) for each in numbers]

    def resume(self, at: float) -> None:
        for number, level in enumerate(self._later, number_of(at) + 1):
            self._put(number, level)
        self._later = []

    def window(self, number: int) -> float:
        last = max(self._room)
        after = PlayedLevels.RELEASE_DB * max(0, number - last + 1 - WIDTH)
        first = min(number, last) - WIDTH + 1
        return max(FLOOR_DB, *(self._room.get(each, SILENCE_DB) for each in range(first, first + WIDTH))) - after

    def recent(self, times: list[float], delays: int) -> list[list[float]]:
        return [
            [
                self.window(number) if self._room and number >= min(self._room) else FLOOR_DB
                for number in range(number_of(at), number_of(at) - STEP * delays, -STEP)
            ]
            for at in times
        ]


def number_of(at: float) -> int:
    return int((at + 1e-6) / PIECE_S)


MOMENTS = st.integers(0, 60).map(lambda count: count * 0.005)
STEPS = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.just("speak"), MOMENTS, st.integers(1, 9), st.integers(-80, -5)),
            st.tuples(st.sampled_from(["go back", "cut", "pause", "resume"]), MOMENTS),
        ),
        st.lists(st.floats(-1.0, 0.5), max_size=2),
    ),
    min_size=1,
    max_size=15,
)


@given(rate=st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000]), at=MOMENTS, steps=STEPS)
def test_levels_in_arrays_are_those_of_one_piece_after_the_other(
    rate: int, at: float, steps: list[tuple[tuple[str, ...], list[float]]]
) -> None:
    arrays, pieces, stands = PlayedLevels(), OneByOne(), False

    def both(do: Callable[[PlayedLevels | OneByOne], None]) -> None:
        do(arrays)
        do(pieces)

    def compare(*moments: float) -> None:
        times = sorted(max(0.0, at + moment) for moment in moments)
        found, expected = arrays.recent(times, 13), pieces.recent(times, 13)
        if found is None:
            assert max(map(max, expected)) <= QUIET_DB
        else:
            assert found.tolist() == [pytest.approx(each, abs=0.001) for each in expected]

    for step, asked in steps:
        match step:
            case ("speak", gap, count, level) if not stands:
                at += gap
                pcm = sound(level, count * PIECE_S, rate)
                both(lambda each: each.add(at, pcm, rate))  # noqa: B023 - called at once
                at += count * PIECE_S
            case ("go back", seconds):
                at = max(0.0, at - seconds)
            case ("cut", seconds):
                at, stands = max(0.0, at - seconds), False
                both(lambda each: each.cut(at))  # noqa: B023
            case ("pause", seconds) if not stands:
                at, stands = max(0.0, at - seconds), True
                both(lambda each: each.pause(at))  # noqa: B023
            case ("resume", seconds) if stands:
                at, stands = at + seconds, False
                both(lambda each: each.resume(at))  # noqa: B023
        for moment in asked:
            compare(moment)
    compare(-1.0, -0.5, -0.48, -0.26, -0.2, -0.02, 0.0, 0.02, 0.1, 0.5)


def test_what_was_learned_of_the_echo_outlasts_a_pause_and_no_answer() -> None:
    level = -20.0
    guard = EchoGuard(guard_db=15, tail_s=0.5, played=lambda times, delays: np.full((len(times), delays), level))
    for _ in range(60):
        guard.hear(sound(-50), 0.0, speaking=False)
    assert not guard.credible, "looked at while the agent is that loud"
    for paused, credible in ((True, True), (False, False)):
        level = SILENCE_DB
        guard.hear(sound(-90), 0.0, speaking=False, paused=paused)
        assert guard.credible
        level = -20.0
        # 12 dB below the agent: above what was learned of the echo, and below what may be echo while nothing is known.
        guard.hear(sound(-38), 0.0, speaking=True)
        assert guard.credible is credible


def test_it_remembers_no_more_than_it_needs() -> None:
    played = PlayedLevels()
    for second in range(30):
        played.add(float(second), sound(-20, 1.0), RATE)
        recent(played, float(second), 13)
    assert 0 < len(played) <= 2 * round(PlayedLevels.KEPT_S / PIECE_S)


# --- Judging ---------------------------------------------------------------------------------------------------------------


class Play:
    """An agent whose loudness alternates every 0.2 s, and a microphone."""

    def __init__(self, *, echo_db: float, delay_s: float = 0.1) -> None:
        self.played = PlayedLevels()
        self.guard = EchoGuard(guard_db=15, tail_s=0.5, played=self.played.recent)
        self.echo_db = echo_db
        self.delay_s = delay_s
        self.now = 0.0
        self._until = 0.0

    def agent_level(self, at: float) -> float:
        return -20.0 if int(at / 0.2) % 2 == 0 else -32.0

    def chunk(self, user: float = SILENCE_DB, *, speaking: bool = False) -> bool:
        """One more chunk of the microphone, and whether it is credible."""
        self.chunk_unasked(user, speaking=speaking)
        return self.guard.credible

    def chunk_unasked(self, user: float = SILENCE_DB, *, speaking: bool = False) -> None:
        """One more chunk of the microphone: the echo, or somebody louder."""
        self.now += CHUNK_S
        while self._until < self.now:
            self.played.add(self._until, sound(self.agent_level(self._until), 0.02), RATE)
            self._until += 0.02
        echo = self.agent_level(self.now - self.delay_s) + self.echo_db
        self.guard.hear(sound(max(echo, user)), self.now, speaking=speaking)


@pytest.mark.parametrize("echo_db", [-18, -30, -45])
@pytest.mark.parametrize("delay_s", [0.02, 0.1, 0.25, 0.45])
def test_an_echo_is_never_credible(echo_db: float, delay_s: float) -> None:
    play = Play(echo_db=echo_db, delay_s=delay_s)
    assert not any(play.chunk() for _ in range(600))


@pytest.mark.parametrize("echo_db", [-20, -30, -45])
def test_a_voice_ten_decibels_louder_than_the_echo_is_credible_once_the_echo_is_known(echo_db: float) -> None:
    play = Play(echo_db=echo_db)
    for _ in range(60):
        play.chunk()
    assert all(play.chunk(user=-20 + echo_db + 10, speaking=True) for _ in range(10))


def test_until_it_is_known_only_a_voice_as_loud_as_the_agent_is() -> None:
    play = Play(echo_db=-45)
    for _ in range(5):
        play.chunk()
    assert not play.chunk(user=-40)
    assert play.chunk(user=-30)


def test_a_voice_is_not_learned_as_echo() -> None:
    play = Play(echo_db=-40)
    for _ in range(60):
        play.chunk()
    for _ in range(300):
        assert play.chunk(user=-45, speaking=True)


def test_one_knock_does_not_deafen_the_rest_of_the_answer() -> None:
    play = Play(echo_db=-40)
    for _ in range(60):
        play.chunk()
    play.chunk(user=-5)
    for _ in range(60):
        play.chunk()
    assert play.chunk(user=-42, speaking=True)


def test_the_next_answer_is_learned_anew() -> None:
    play = Play(echo_db=-45)
    for _ in range(100):
        play.chunk()
    play.now += 10.0
    play._until = play.now
    play.guard.hear(sound(-30), play.now, speaking=False)
    assert play.guard.credible, "the agent is quiet: everything is credible"
    play.echo_db = -20  # A headset was unplugged meanwhile.
    assert not any(play.chunk() for _ in range(200))


def test_a_quiet_agent_makes_no_echo() -> None:
    guard = EchoGuard(guard_db=15, tail_s=0.5, played=lambda times, delays: np.full((len(times), delays), -65.0))
    guard.hear(sound(-80), 0.0, speaking=False)
    assert guard.credible


def test_no_tail_at_all_is_allowed() -> None:
    guard = EchoGuard(guard_db=15, tail_s=0.0, played=lambda times, delays: np.full((len(times), delays), -20.0))
    guard.hear(sound(-50), 0.0, speaking=False)
    assert not guard.credible


@given(
    heard=st.lists(st.tuples(st.integers(-60, -10), st.booleans(), st.booleans()), max_size=60),
    asked=st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_what_is_looked_at_together_is_judged_as_each_would_be_by_itself(
    heard: list[tuple[int, bool, bool]], asked: list[bool]
) -> None:
    both = (PlayedLevels(), PlayedLevels())
    now = 0.0
    at_once, later = (EchoGuard(guard_db=15, tail_s=0.5, played=played.recent) for played in both)
    for (level, speaks, speaking), asks in zip(heard, asked, strict=False):
        for played in both:
            if speaks:
                played.add(now, sound(level + 20, 0.04), RATE)
        for guard in (at_once, later):
            guard.hear(sound(level), now, speaking=speaking)
        credible = at_once.credible
        if asks:
            assert later.credible is credible
        now += CHUNK_S


def test_a_microphone_that_was_silent_for_long_amid_an_answer_makes_nothing_forgotten() -> None:
    play = Play(echo_db=-50)
    for _ in range(5 * EchoGuard.TOGETHER + 2):  # ... of which the last two were not looked at.
        play.chunk_unasked()
    play.now += 21.0  # The user has muted, and the answer goes on.
    assert play.chunk(user=-45)
