from __future__ import annotations

import pytest
import trio
from compose_kit import Written, faults, on_virtual_time, say, took, voice
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.errors import ProviderError, ProviderTimeout
from flare_actors.ports import Synthesizer
from flare_actors.providers.compose import Attempts, Switching, fallback, with_retries, with_timeouts
from flare_actors.providers.compose.tts import _Skip
from flare_actors.testing.faults import Act, At, Fault

HANG = Fault(at=At.FIRST, act=Act.HANG)
RAISE = Fault(at=At.FIRST, act=Act.RAISE)
TEXTS = ("This is the first phrase.", "And this is the second one.", "That was all.")
WHOLE = {index: pytest.approx(len(text) / 15, abs=0.001) for index, text in enumerate(TEXTS)}


def test_a_composed_synthesizer_is_a_synthesizer_at_the_rate_of_the_first():
    composed = with_timeouts(voice(sample_rate=24_000, locales=("en",)))
    assert isinstance(composed, Synthesizer)
    assert (composed.sample_rate, composed.locales) == (24_000, ("en",))


@pytest.mark.parametrize(
    ("fault", "waited", "what"),
    [
        (Fault(at=At.CONNECT, act=Act.HANG), 1.0, "connect"),
        (HANG, 2.0, "first audio of a phrase"),
        (Fault(at=At.MIDDLE, act=Act.HANG), 3.0, "next audio"),
        (Fault(at=At.END, act=Act.HANG), 2.0, "first audio of a phrase"),
    ],
)
async def test_a_hang_anywhere_is_a_timeout_that_says_where(autojump_clock, fault, waited, what):
    slow = with_timeouts(voice(always=fault), connect_s=1, first_s=2, gap_s=3)
    started = trio.current_time()

    with pytest.raises(ProviderTimeout, match=what):
        await say(slow, TEXTS)

    assert trio.current_time() - started == pytest.approx(waited)


async def test_a_model_that_takes_its_time_is_not_the_synthesizers_delay(autojump_clock):
    fine = with_timeouts(voice(), connect_s=1, first_s=1, gap_s=1)
    assert await say(fine, TEXTS, gap_s=30) == WHOLE


async def test_a_listener_who_takes_his_time_is_not_the_synthesizers_delay(autojump_clock):
    fine = with_timeouts(voice(), connect_s=1, first_s=1, gap_s=1)
    async with fine.synthesize(Written(TEXTS), locale="en") as chunks:
        async for _ in chunks:
            await trio.sleep(20)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(at=At.CALL, act=Act.CRASH),
        Fault(at=At.CONNECT, act=Act.HANG),
        HANG,
        RAISE,
        Fault(at=At.FIRST, act=Act.STOP),
        Fault(at=At.FIRST, act=Act.GIVE, item="no audio"),
        Fault(at=At.MIDDLE, act=Act.RAISE, after=5),
        Fault(at=At.MIDDLE, act=Act.HANG, after=5),
        Fault(at=At.MIDDLE, act=Act.STOP, after=5),
        Fault(at=At.MIDDLE, act=Act.CRASH_GROUP, after=21),
    ],
    ids=lambda fault: f"{fault.at.value}-{fault.act.value}",
)
async def test_every_phrase_is_spoken_whole_and_none_twice(autojump_clock, fault):
    cloud, local = voice(always=fault), voice()
    async with fallback([cloud, local]) as both:
        spoken, first = await took(lambda: say(both, TEXTS))
        assert spoken == WHOLE
        _, second = await took(lambda: say(both, TEXTS))

    assert first <= Attempts().gap_s
    assert second == 0
    assert cloud.streams == 1
    assert cloud.open_streams == 0


async def test_only_what_was_not_spoken_is_given_to_the_next_voice(autojump_clock):
    chunks_of_first = 17  # 25 characters at 15 a second, in chunks of 0.1 s
    cloud, local = voice(always=Fault(at=At.MIDDLE, act=Act.RAISE, after=chunks_of_first + 3)), voice()
    async with fallback([cloud, local]) as both:
        await say(both, TEXTS)
    assert local.inner.phrases == list(TEXTS[1:])


async def test_a_slower_voice_does_not_say_the_end_of_a_spoken_phrase_again(autojump_clock):
    cloud = voice(always=Fault(at=At.MIDDLE, act=Act.RAISE, after=17))  # exactly after the first phrase
    async with fallback([cloud, voice(chars_per_second=13)]) as both:
        spoken = await say(both, TEXTS)
    assert spoken[0] == WHOLE[0]
    assert spoken[1] == pytest.approx(len(TEXTS[1]) / 13, abs=0.001)


async def test_a_voice_of_another_rate_is_converted(autojump_clock):
    async with fallback([voice(always=RAISE), voice(sample_rate=24_000)]) as both:
        spoken = await say(both, TEXTS)
    assert sum(spoken.values()) == pytest.approx(sum(len(text) for text in TEXTS) / 15, abs=0.001)


async def test_a_retry_speaks_from_the_beginning(autojump_clock):
    shaky = voice(faults=[RAISE])
    assert await say(with_retries(shaky), TEXTS) == WHOLE
    broken = voice(always=Fault(at=At.MIDDLE, act=Act.RAISE))
    with pytest.raises(ProviderError):
        await say(with_retries(broken), TEXTS)
    assert broken.streams == 1


async def test_a_broken_voice_says_a_phrase_unheard_to_prove_itself(autojump_clock):
    cloud = voice(faults=[RAISE], chars_per_second=10)
    async with fallback([cloud, voice()], switching=Switching(probe_after_s=10)) as both:
        assert await say(both, TEXTS) == WHOLE
        await trio.sleep(13)
        assert await say(both, TEXTS) == WHOLE
        await trio.testing.wait_all_tasks_blocked()
        assert cloud.inner.phrases == [TEXTS[0]]
        assert (await say(both, TEXTS))[0] == pytest.approx(len(TEXTS[0]) / 10, abs=0.001)


@pytest.mark.parametrize("when", [0.0, 1.0, 2.5, 4.0])
async def test_cancelled_at_any_time_nothing_stays_open(autojump_clock, when):
    cloud, local = voice(always=HANG), voice(first_audio_s=1, realtime_factor=1)
    async with fallback([cloud, local]) as both:
        with trio.move_on_after(when) as scope:
            await say(both, TEXTS)
        assert scope.cancelled_caught
        assert cloud.open_streams == local.open_streams == 0


@given(
    chunks=st.lists(st.integers(1, 4_000), max_size=30),
    skipped=st.integers(0, 40_000),
)
def test_what_is_skipped_and_what_is_given_make_the_whole(chunks, skipped):
    pcm = b"".join(bytes([1 + number % 250, 0]) * count for number, count in enumerate(chunks))
    skip = _Skip(skipped / 16_000, 16_000)
    given_out, start = b"", 0
    for count in chunks:
        given_out += skip.feed(pcm[start : start + 2 * count])
        start += 2 * count

    rest = pcm[2 * skipped :]
    slack = 2 * round((0.2 * skipped / 16_000 + 0.3) * 16_000) if skipped else 0
    assert given_out == (rest if len(rest) >= slack else b"")


@given(
    several=st.lists(st.lists(faults(40), max_size=4), min_size=1, max_size=3),
    pauses=st.lists(st.floats(0, 40), min_size=1, max_size=3),
    gap_s=st.sampled_from([0.0, 0.5, 5.0]),
)
def test_a_turn_is_spoken_whole_and_once_or_fails_in_bounded_time(several, pauses, gap_s):
    async def run() -> None:
        voices = [voice(faults=each) for each in several]
        async with fallback(voices) as any_of_them:
            for pause in pauses:
                started = trio.current_time()
                try:
                    spoken = await say(any_of_them, TEXTS, gap_s=gap_s)
                except ProviderError:
                    pass
                else:
                    assert spoken == {
                        # The end of a phrase, as short as a pause, may be taken for one.
                        index: pytest.approx(len(text) / 15, abs=0.2 * len(text) / 15 + 0.31)
                        for index, text in enumerate(TEXTS)
                    }
                assert trio.current_time() - started <= 4 * gap_s + len(voices) * (1.5 + 3 + 1.5) + 5
                await trio.sleep(pause)
        assert all(each.open_streams == 0 for each in voices)

    on_virtual_time(run)
