from __future__ import annotations

import math

import pytest
import trio
from compose_kit import ASK, HANG, RAISE, answer, faults, model, on_virtual_time, took
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.errors import ProviderError, ProviderTimeout
from flare_actors.ports import LanguageModel
from flare_actors.providers.compose import Attempts, Switching, fallback, hedge, with_retries, with_timeouts
from flare_actors.testing.faults import Act, At, Fault

# A nursery of the vendor's own around a crash is another shape of it; every place but CLOSE leaves nothing said.
SILENT = [
    Fault(at=at, act=act)
    for at, acts in {
        At.CALL: (Act.RAISE, Act.CRITICAL, Act.CRASH, Act.CRASH_GROUP),
        At.CONNECT: (Act.HANG, Act.RAISE, Act.CRITICAL, Act.CRASH, Act.CRASH_GROUP),
        At.FIRST: (Act.HANG, Act.RAISE, Act.CRITICAL, Act.CRASH, Act.CRASH_GROUP),
    }.items()
    for act in acts
] + [Fault(at=At.FIRST, act=Act.GIVE, item="no output")]


def test_a_composed_model_is_a_language_model():
    assert isinstance(with_timeouts(model("Hi.")), LanguageModel)


# --- Timeouts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "waited", "what"),
    [
        (Fault(at=At.CONNECT, act=Act.HANG), 1.0, "connect"),
        (HANG, 2.0, "first token"),
        (Fault(at=At.MIDDLE, act=Act.HANG), 3.0, "next token"),
        (Fault(at=At.END, act=Act.HANG), 3.0, "next token"),
        (Fault(at=At.CLOSE, act=Act.HANG), 1.0, "close"),
    ],
)
async def test_a_hang_anywhere_is_a_timeout_that_says_where(autojump_clock, fault, waited, what):
    slow = with_timeouts(model("One two.", always=fault), connect_s=1, first_s=2, gap_s=3)
    started = trio.current_time()

    with pytest.raises(ProviderTimeout, match=what):
        await answer(slow)

    assert trio.current_time() - started == pytest.approx(waited)


async def test_a_reader_who_takes_his_time_is_nobodys_delay(autojump_clock):
    patient = with_timeouts(model("One two three."), connect_s=1, first_s=1, gap_s=1)
    async with patient.generate(ASK, locale="en") as outputs:
        async for _ in outputs:
            await trio.sleep(60)


# --- Retries -------------------------------------------------------------------------------------------------------------


async def test_what_failed_before_anything_came_is_asked_again(autojump_clock):
    shaky = model("Hello.", faults=[RAISE, RAISE])

    text, seconds = await took(lambda: answer(with_retries(shaky, retries=2)))

    assert text == "Hello."
    assert shaky.streams == 3
    assert 0.1 <= seconds <= 0.5


@pytest.mark.parametrize(
    "fault",
    [Fault(at=At.MIDDLE, act=Act.RAISE), Fault(at=At.FIRST, act=Act.CRITICAL)],
    ids=["after the first token", "for good"],
)
async def test_what_cannot_be_mended_by_asking_again_is_not_asked_again(autojump_clock, fault):
    shaky = model("One two three.", always=fault)
    with pytest.raises(ProviderError):
        await answer(with_retries(shaky, retries=3))
    assert shaky.streams == 1


async def test_a_timeout_is_not_waited_for_twice(autojump_clock):
    hung = model("Never.", always=HANG)
    with pytest.raises(ProviderTimeout):
        await answer(with_retries(with_timeouts(hung, first_s=2), retries=3))
    assert hung.streams == 1


async def test_retries_end(autojump_clock):
    shaky = model("Never.", always=RAISE)
    with pytest.raises(ProviderError, match="scripted failure"):
        await answer(with_retries(shaky, retries=2))
    assert shaky.streams == 3


# --- Fallback ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", SILENT, ids=lambda fault: f"{fault.at.value}-{fault.act.value}")
async def test_whatever_happens_before_the_first_token_the_next_model_answers(autojump_clock, fault):
    cloud, local = model("From the cloud.", always=fault), model("From here.")

    async with fallback([cloud, local]) as both:
        text, first = await took(lambda: answer(both))
        again, second = await took(lambda: answer(both))

    assert text == again == "From here."
    assert first <= Attempts().first_s  # a hang costs its timeout once,
    assert second == 0  # and then nothing
    assert cloud.streams == 1
    assert cloud.open_streams == local.open_streams == 0


async def test_what_the_user_has_heard_the_beginning_of_is_not_answered_twice(autojump_clock):
    cloud, local = model("One two three.", always=Fault(at=At.MIDDLE, act=Act.RAISE)), model("From here.")
    async with fallback([cloud, local]) as both:
        with pytest.raises(ProviderError, match="scripted failure at middle"):
            await answer(both)
        assert local.streams == 0
        assert await answer(both) == "From here."  # but it is remembered


async def test_a_broken_model_is_probed_in_the_background_and_comes_back(autojump_clock):
    cloud = model("From the cloud.", faults=[HANG, HANG])
    switching = Switching(probe_after_s=10)
    async with fallback([cloud, model("From here.")], switching=switching) as both:
        assert await answer(both) == "From here."
        await trio.sleep(13)
        text, seconds = await took(lambda: answer(both))
        assert (text, seconds) == ("From here.", 0)  # nobody waits for the probe,
        assert cloud.streams == 2
        await trio.sleep(5)  # which hangs, too
        assert cloud.open_streams == 0

        await trio.sleep(10)
        assert await answer(both) == "From here."
        assert cloud.streams == 2  # the time to the next probe has doubled
        await trio.sleep(13)
        assert await answer(both) == "From here."
        await trio.testing.wait_all_tasks_blocked()
        assert cloud.streams == 3
        assert await answer(both) == "From the cloud."


async def test_if_all_are_broken_they_are_asked_all_the_same(autojump_clock):
    cloud, local = model("From the cloud.", faults=[RAISE]), model("From here.", faults=[RAISE])
    async with fallback([cloud, local]) as both:
        with pytest.raises(
            ProviderError, match=r"all 2 llm providers failed: scripted failure.*; scripted failure"
        ) as told:
            await answer(both)
        assert not told.value.critical
        assert await answer(both) == "From the cloud."


async def test_it_is_critical_only_when_nothing_can_help_any_of_them(autojump_clock):
    wrong_key = Fault(at=At.FIRST, act=Act.CRITICAL)
    async with fallback([model("", always=wrong_key), model("", always=wrong_key)]) as both:
        with pytest.raises(ProviderError) as told:
            await answer(both)
        assert told.value.critical


async def test_a_bug_of_the_reader_flies_out_as_it_is(autojump_clock):
    cloud = model("One two three.")

    async def stumble() -> None:
        async with fallback([cloud]) as alone, alone.generate(ASK, locale="en") as outputs:
            async for _ in outputs:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stumble()
    assert cloud.open_streams == 0


@pytest.mark.parametrize("when", [0.0, 0.5, 1.2, 2.2])
async def test_cancelled_at_any_time_nothing_stays_open(autojump_clock, when):
    cloud, local = model("Never.", always=HANG), model("One two.", first_token_s=0.3, gap_s=1)
    async with fallback([cloud, local], attempts=Attempts(first_s=1)) as both:
        with trio.move_on_after(when) as scope:
            await answer(both)
        assert scope.cancelled_caught
        assert cloud.open_streams == local.open_streams == 0


async def test_it_is_told_when_one_breaks_and_when_it_works_again_and_not_at_every_failure_between(autojump_clock):
    told = []
    cloud, local = model("From the cloud.", faults=[RAISE, RAISE]), model("From here.")
    async with fallback([cloud, local], tell=lambda *each: told.append(each)) as both:
        for _ in range(5):
            await answer(both)
            await trio.sleep(40)
    (broken, why), (mended, _) = [(each[1], each[2]) for each in told]
    assert (broken, mended) == (True, False)
    assert "scripted failure" in why.message
    assert {each[0] for each in told} == {cloud}


async def test_a_probe_that_hangs_is_not_the_last_one_even_where_there_is_no_limit(autojump_clock):
    cloud = model("From the cloud.", faults=[RAISE, HANG])
    patient = Attempts(connect_s=math.inf, first_s=math.inf, gap_s=math.inf)
    async with fallback([cloud, model("From here.")], attempts=patient) as both:
        for _ in range(4):
            await answer(both)
            await trio.sleep(60)
        assert cloud.open_streams == 0
        assert await answer(both) == "From the cloud."


async def test_a_probe_ends_with_the_block(autojump_clock):
    cloud = model("Never.", always=HANG)
    async with fallback([cloud, model("Hi.")], switching=Switching(probe_after_s=1)) as both:
        await answer(both)
        await trio.sleep(2)
        await answer(both)
        await trio.testing.wait_all_tasks_blocked()
        assert cloud.open_streams == 1
    assert cloud.open_streams == 0


def test_nobody_to_fall_back_on_is_our_own_mistake():
    with pytest.raises(ValueError, match="at least one provider"):
        fallback([])
    with pytest.raises(ValueError, match="got 2 providers, but attempts for 1"):
        fallback([model(""), model("")], attempts=[Attempts()])


# --- Hedge ---------------------------------------------------------------------------------------------------------------


async def test_the_second_is_asked_when_the_first_is_late_and_the_first_to_answer_is_kept(autojump_clock):
    slow, quick = model("Slow.", first_token_s=5), model("Quick.", first_token_s=0.2)
    text, seconds = await took(lambda: answer(hedge(slow, quick, after_s=0.5)))
    assert (text, seconds) == ("Quick.", 0.7)
    assert slow.open_streams == 0


async def test_a_first_one_in_time_is_alone(autojump_clock):
    quick, never = model("Quick.", first_token_s=0.4), model("Never.")
    assert await answer(hedge(quick, never, after_s=0.5)) == "Quick."
    assert never.streams == 0


async def test_a_late_first_one_still_wins_if_the_second_is_later(autojump_clock):
    late, later = model("Late.", first_token_s=1), model("Later.", first_token_s=1)
    text, seconds = await took(lambda: answer(hedge(late, later, after_s=0.5)))
    assert (text, seconds) == ("Late.", 1.0)
    assert later.open_streams == 0


async def test_a_first_one_that_fails_is_not_waited_for(autojump_clock):
    text, seconds = await took(lambda: answer(hedge(model("", always=RAISE), model("Second."), after_s=5)))
    assert (text, seconds) == ("Second.", 0)


async def test_one_that_fails_while_both_run_leaves_the_other_its_time(autojump_clock):
    failing = with_timeouts(model("", always=HANG), first_s=1)
    second = model("Second.", first_token_s=3)
    assert await took(lambda: answer(hedge(failing, second, after_s=0.5))) == ("Second.", 3.5)


async def test_a_hedged_fallback_that_loses_three_times_is_no_longer_waited_for(autojump_clock):
    slow, quick = model("Slow.", first_token_s=1.9), model("Quick.")
    async with fallback([slow, quick], switching=Switching(hedge_s=0.5)) as both:
        waits = [(await took(lambda: answer(both)))[1] for _ in range(5)]
    assert waits == [0.5, 0.5, 0.5, 0, 0]


async def test_one_that_was_asked_later_and_not_waited_for_has_lost_nothing(autojump_clock):
    first, second = model("First.", first_token_s=0.6), model("Second.", first_token_s=1)
    third = model("Third.")
    async with fallback([first, second, third], switching=Switching(hedge_s=0.5)) as any_of_them:
        for _ in range(5):
            assert await answer(any_of_them) == "First."
        first.always, second.inner.first_token_s = RAISE, 0.1
        assert await answer(any_of_them) == "Second.", "as good as it was"


# --- Whatever the faults --------------------------------------------------------------------------------------------------


@given(
    several=st.lists(st.lists(faults(3), max_size=6), min_size=1, max_size=3),
    hedge_s=st.none() | st.floats(0.1, 3),
    pauses=st.lists(st.floats(0, 40), min_size=1, max_size=6),
    retries=st.integers(0, 2),
)
def test_an_answer_is_one_models_own_or_an_error_in_bounded_time_and_nothing_stays_open(
    several, hedge_s, pauses, retries
):
    text = "one two three"

    async def run() -> None:
        models = [model(f"{name}: {text}", faults=each) for name, each in zip("abc", several, strict=False)]
        asked = [with_retries(each, retries=retries) for each in models]
        async with fallback(asked, switching=Switching(hedge_s=hedge_s)) as any_of_them:
            for pause in pauses:
                heard = ""
                started = trio.current_time()
                try:
                    async with any_of_them.generate(ASK, locale="en") as outputs:
                        async for output in outputs:
                            heard += output.text
                except ProviderError:
                    pass
                else:
                    assert heard[3:] == text
                assert not heard or f"{heard[0]}: {text}".startswith(heard)
                # connect, first, and three gaps of the one that answers; a close of each; and the retries' pauses
                most = len(models) * (1.5 + 2 + 1.5 + 3 * 0.25) + 4 * 3
                assert trio.current_time() - started <= most
                await trio.sleep(pause)
        assert all(each.open_streams == 0 for each in models)

    on_virtual_time(run)
