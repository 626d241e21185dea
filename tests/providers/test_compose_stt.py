from __future__ import annotations

import pytest
import trio
from compose_kit import Spoken, ear, faults, hear, on_virtual_time, took
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError, ProviderTimeout
from flare_actors.ports import HeardAudio, Recognizer
from flare_actors.providers.compose import Attempts, Switching, fallback, with_retries, with_timeouts
from flare_actors.providers.compose.candidates import Candidate, Candidates
from flare_actors.providers.compose.stt import ComposedRecognizer
from flare_actors.providers.scripted import ScriptedRecognizer
from flare_actors.testing.faults import Act, At, Fault

HANG = Fault(at=At.FIRST, act=Act.HANG)
RAISE = Fault(at=At.FIRST, act=Act.RAISE)


def test_a_composed_recogniser_is_a_recogniser_at_the_rate_of_the_first():
    composed = with_timeouts(ear("Hi.", sample_rate=24_000, locales=("en", "de")))
    assert isinstance(composed, Recognizer)
    assert (composed.sample_rate, composed.locales) == (24_000, ("en", "de"))


async def test_the_final_transcript_is_waited_for_from_the_end_of_the_utterance_on(autojump_clock):
    hung = with_timeouts(ear("", always=HANG), connect_s=1, first_s=2)
    with pytest.raises(ProviderTimeout, match=r"2 s \(final transcript\)"):
        await hear(hung, pieces=50)
    assert trio.current_time() - autojump_clock.current_time() == 0
    fine = with_timeouts(ear("Heard.", delay_s=1.9), connect_s=1, first_s=2)
    assert await took(lambda: hear(fine, pieces=50)) == (["Heard."], 6.9)


async def test_the_stream_waits_open_for_the_users_first_word(autojump_clock):
    fine = with_timeouts(ear("Heard."), connect_s=1, first_s=1)
    assert await hear(fine, pieces=1, piece_s=600.0 / 100) == ["Heard."]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(at=At.CALL, act=Act.CRASH),
        Fault(at=At.CONNECT, act=Act.HANG),
        Fault(at=At.CONNECT, act=Act.RAISE),
        HANG,
        RAISE,
        Fault(at=At.FIRST, act=Act.STOP),
        Fault(at=At.FIRST, act=Act.GIVE, item="no transcript"),
        Fault(at=At.MIDDLE, act=Act.CRASH_GROUP, after=2),
        Fault(at=At.MIDDLE, act=Act.HANG, after=2),
    ],
    ids=lambda fault: f"{fault.at.value}-{fault.act.value}",
)
async def test_the_next_recogniser_hears_the_utterance_from_its_beginning(autojump_clock, fault):
    inner = ScriptedRecognizer(default="what was said")
    cloud = ear("never to the end", partials=True, always=fault)
    async with fallback([cloud, inner]) as both:
        transcripts, first = await took(lambda: hear(both, pieces=20))
        assert transcripts[-1] == "what was said"
        assert inner.heard_s == [pytest.approx(2.0)]
        _, second = await took(lambda: hear(both, pieces=20))

    assert first <= 2.0 + Attempts().first_s
    assert second == 2.0  # a dead one costs its timeout once
    assert cloud.streams == 1
    assert cloud.open_streams == 0


async def test_one_of_another_sample_rate_gets_audio_of_its_own_rate(autojump_clock):
    inner = ScriptedRecognizer(default="heard", sample_rate=24_000)
    async with fallback([ear("", always=RAISE), inner]) as both:
        assert await hear(both, pieces=20) == ["heard"]
    assert inner.heard_s == [pytest.approx(2.0, abs=0.001)]


async def test_after_more_audio_than_is_kept_a_failure_is_the_utterances(autojump_clock):
    late = ear("", partials=True, always=Fault(at=At.MIDDLE, act=Act.RAISE, after=3), word_s=0.1)
    late.inner.default = "a b c d e f g"
    rest = ScriptedRecognizer()
    composed = ComposedRecognizer(
        Candidates(stage="stt", of=[Candidate(provider=late), Candidate(provider=rest)]), kept_s=0.1
    )
    with pytest.raises(ProviderError, match="scripted failure"):
        await hear(composed, pieces=20)
    assert rest.heard_s == []


async def test_a_recogniser_that_speaks_another_language_is_not_asked(autojump_clock):
    german = ear("Guten Tag.", locales=("de",))
    async with fallback([german, ear("Hello.", locales=("en",))]) as both:
        assert await hear(both) == ["Hello."]
        assert both.locales == ("de", "en")
    assert german.streams == 0


async def test_retries_replay_the_utterance_too(autojump_clock):
    shaky = ear("Heard.", faults=[RAISE])
    assert await hear(with_retries(shaky)) == ["Heard."]
    assert shaky.inner.heard_s == [pytest.approx(1.0)]


class Silence:
    """Nobody says a word."""

    def __aiter__(self) -> Silence:
        return self

    async def __anext__(self) -> HeardAudio:
        await trio.sleep_forever()
        raise AssertionError


@pytest.mark.parametrize(("after_s", "asked"), [(0.1, 1), (30.0, 0)], ids=["at once", "after a while"])
async def test_a_stream_closed_for_idleness_is_no_failure_but_one_closed_at_once_is(autojump_clock, after_s, asked):
    idle = _ClosesItself(after_s)
    rest = ear("Rest.")
    async with fallback([idle, rest]) as both:
        with trio.move_on_after(60):
            async with both.transcribe(Silence(), locale="en", mode=SttMode.STREAMING) as transcripts:
                assert [each async for each in transcripts] == []
    assert rest.streams == asked


class _ClosesItself:
    """A vendor that hangs up when nobody speaks."""

    sample_rate = 16_000
    locales = None
    partials = False

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s

    def transcribe(self, audio, *, locale, mode):
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    def __aiter__(self):
        return self

    async def __anext__(self):
        await trio.sleep(self._after_s)
        raise StopAsyncIteration


async def test_a_broken_recogniser_gets_a_finished_utterance_to_prove_itself(autojump_clock):
    cloud = ear("From the cloud.", faults=[HANG])
    async with fallback([cloud, ear("From here.")], switching=Switching(probe_after_s=10)) as both:
        await hear(both)
        await trio.sleep(13)
        assert await hear(both) == ["From here."]
        await trio.testing.wait_all_tasks_blocked()
        assert cloud.inner.heard_s == [pytest.approx(1.0)]
        assert await hear(both) == ["From the cloud."]


@pytest.mark.parametrize("when", [0.0, 0.55, 1.5, 3.2])
async def test_cancelled_at_any_time_nothing_stays_open_and_the_source_is_whole(autojump_clock, when):
    cloud, local = ear("", always=HANG), ear("Heard.", delay_s=1)
    source = Spoken(pieces=10)
    async with fallback([cloud, local]) as both:
        with trio.move_on_after(when) as scope:
            async with both.transcribe(source, locale="en", mode=SttMode.STREAMING) as transcripts:
                async for _ in transcripts:
                    pass
        assert scope.cancelled_caught
        assert cloud.open_streams == local.open_streams == 0
        with trio.fail_after(2):
            async for _ in source:
                pass


async def test_a_source_that_breaks_is_nobodys_failure_but_its_own(autojump_clock):
    async def broken():
        yield HeardAudio(pcm=bytes(320))
        raise ZeroDivisionError

    cloud = ear("", faults=[])
    with pytest.RaisesGroup(ZeroDivisionError, allow_unwrapped=True, flatten_subgroups=True):
        async with (
            fallback([cloud]) as alone,
            alone.transcribe(broken(), locale="en", mode=SttMode.STREAMING) as transcripts,
        ):
            async for _ in transcripts:
                pass


@given(
    several=st.lists(st.lists(faults(3), max_size=5), min_size=1, max_size=3),
    pauses=st.lists(st.floats(0, 40), min_size=1, max_size=4),
    retries=st.integers(0, 1),
)
def test_an_utterance_is_understood_wholly_by_one_of_them_or_fails_in_bounded_time(several, pauses, retries):
    async def run() -> None:
        ears = [ear(f"said to {name}", partials=True, faults=each) for name, each in zip("abc", several, strict=False)]
        async with fallback([with_retries(each, retries=retries) for each in ears]) as any_of_them:
            for pause in pauses:
                started = trio.current_time()
                try:
                    *_, last = await hear(any_of_them, pieces=15)
                except ProviderError:
                    pass
                else:
                    assert last in {f"said to {name}" for name in "abc"}
                assert trio.current_time() - started <= 1.5 + len(ears) * (1.5 + 2 + 1.5 + 0.25) + 5
                await trio.sleep(pause)
        assert all(each.open_streams == 0 for each in ears)
        # Whoever heard an utterance to its end heard all of it.
        assert all(heard == pytest.approx(1.5) for each in ears for heard in each.inner.heard_s if heard > 0)

    on_virtual_time(run)
