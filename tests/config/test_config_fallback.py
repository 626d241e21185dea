from __future__ import annotations

import pytest
import structlog

from flare_actors.config import dump, load
from flare_actors.config.agent import open_agent
from flare_actors.errors import ConfigError, ProviderError
from flare_actors.ports import Message
from flare_actors.providers import registry
from flare_actors.providers.compose import Attempts, Switching

SCRIPTED = """
[providers.vad]
use = "scripted"
[providers.stt]
use = "scripted"
[providers.tts]
use = "scripted"
"""
LLM = """
[providers.llm]
use = "openai"
base_url = "http://127.0.0.1:1/v1"
model = "big"
connections = 4

[providers.llm.attempts]
first_s = 1.5

[providers.llm.switching]
hedge_s = 0.4

[[providers.llm.fallback]]
use = "openai"
base_url = "http://127.0.0.1:2/v1"
retries = 0
attempts = { gap_s = 9 }

[[providers.llm.fallback]]
use = "scripted"
script = ["From the script."]
"""


@pytest.fixture
def read(tmp_path):
    def reading(text: str, **environ: str):
        (tmp_path / "agent.toml").write_text(text, encoding="utf-8")
        return load(tmp_path / "agent.toml", catalogue=registry, environ=environ)

    return reading


def test_a_provider_has_its_attempts_its_fallbacks_and_their_switching(read):
    llm = read(SCRIPTED + LLM).providers["llm"]

    assert [each.use for each in llm.all] == ["openai", "openai", "scripted"]
    assert str(llm) == "openai, else openai, else scripted"
    assert llm.attempts == Attempts(first_s=1.5)
    assert llm.fallback[0].attempts == Attempts(gap_s=9)
    assert (llm.settings.retries, llm.fallback[0].settings.retries) == (1, 0)
    assert llm.fallback[1].attempts is None
    assert llm.fallback[1].settings.script == ("From the script.",)
    assert llm.switching == Switching(hedge_s=0.4)


def test_what_is_shown_can_be_read_again(read):
    import tomli_w

    config = read(SCRIPTED + LLM)
    assert read(tomli_w.dumps(dump(config))) == config


def test_a_variable_reaches_the_attempts(read):
    config = read(SCRIPTED + LLM, FLARE_ACTORS_PROVIDERS__LLM__ATTEMPTS__FIRST_S="0.75")
    assert config.providers["llm"].attempts.first_s == 0.75


async def test_an_agent_with_a_dead_first_model_answers_by_the_next(read):
    with structlog.testing.capture_logs() as logs:
        async with open_agent(read(SCRIPTED + LLM)) as agent:
            question = [Message(role="user", content="Hello?")]
            async with agent.language_model.generate(question, locale="en") as outputs:
                assert "".join([output.text async for output in outputs]) == "From the script."
    assert sorted((each["event"], each["where"]) for each in logs) == [
        ("provider_broken", "[[providers.llm.fallback]] no. 1"),
        ("provider_broken", "[providers.llm]"),
    ]
    assert all("no connection; is the server running" in each["error"] for each in logs)


async def test_of_two_engines_that_are_alike_the_log_names_the_one_that_is_broken(read):
    silent = 'use = "scripted"\nfirst_token_s = 60\nattempts = { first_s = 0.01 }\n'
    config = read(f"{SCRIPTED}[providers.llm]\n{silent}[[providers.llm.fallback]]\n{silent}")
    with structlog.testing.capture_logs() as logs:
        async with (
            open_agent(config) as agent,
            agent.language_model.generate([Message(role="user", content="?")], locale="en") as outputs,
        ):
            with pytest.raises(ProviderError):
                await anext(aiter(outputs))
    assert [each["where"] for each in logs] == ["[providers.llm]", "[[providers.llm.fallback]] no. 1"]


async def test_attempts_alone_stand_around_a_single_engine(read):
    config = read(SCRIPTED + '[providers.llm]\nuse = "scripted"\nfirst_token_s = 60\nattempts = { first_s = 0.01 }')
    async with (
        open_agent(config) as agent,
        agent.language_model.generate([Message(role="user", content="?")], locale="en") as outputs,
    ):
        with pytest.raises(ProviderError, match=r"gave nothing for 0.01 s"):
            await anext(aiter(outputs))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[providers.llm.fallback]\nuse = "scripted"',
            r"\[providers.llm\] fallback: must be a list of tables: write \[\[",
        ),
        ("[[providers.llm.fallback]]\n", r"\[providers.llm.fallback.1\] use: is missing: name one of local, "),
        ('[[providers.llm.fallback]]\nuse = "opnai"', r"\[providers.llm.fallback.1\] use: .*did you mean 'openai'\?"),
        (
            '[[providers.llm.fallback]]\nuse = "openai"\nmodle = "x"',
            r"fallback.1\] modle: unknown key; did you mean 'model'",
        ),
        (
            "[providers.llm.switching]\nfailures = 2",
            r"switching: there is nobody to switch to; add \[\[providers.llm.fallb",
        ),
        ("[providers.llm]\nattempts = 3", r"\[providers.llm\] attempts: must be a table"),
        ("[providers.llm.attempts]\nfirst_s = 0", r"\[providers.llm.attempts\] first_s: must be > 0"),
        ("[providers.llm]\nfirst_s = 1", r"first_s: unknown key here; it belongs into \[providers.llm.attempts\]"),
        (
            '[[providers.vad.fallback]]\nuse = "scripted"',
            r"\[providers.vad\] fallback: voice activity detection has none",
        ),
        (
            '[[providers.llm.fallback]]\nuse = "openai"\n[[providers.llm.fallback.fallback]]\nuse = "local"',
            r"\[providers.llm.fallback.1\] fallback: unknown key",
        ),
        (
            '[providers.tts.attempts]\nfirst_s = 5\n[[providers.tts.fallback]]\nuse = "scripted"',
            (
                r"\[conversation.timeouts\] tts_first_s: must be more than the 6.5 s after which the last "
                r"\[\[providers.tts.fallback\]\] is asked, got 6; raise it, or lower \[providers.tts.attempts\]"
            ),
        ),
        (
            (
                '[conversation]\nlocale = "de"\n[providers.stt]\nuse = "scripted"\n[providers.tts]\nuse = "scripted"\n'
                '[[providers.stt.fallback]]\nuse = "moonshine"'
            ),
            r"\[conversation\] locale: moonshine \(\[providers.stt\]\) knows en",
        ),
    ],
)
def test_a_mistake_is_told_where_it_is(read, text, message):
    with pytest.raises(ConfigError, match=message):
        read(text)
