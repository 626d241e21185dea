from __future__ import annotations

import json
import re

import pytest

from flare_actors.config import doctor, load
from flare_actors.providers import registry
from flare_actors.providers.provider import Provider
from flare_actors.providers.scripted_settings import HEARING, SPEECH, WRITING
from flare_actors.testing.faults import Act, At, Fault, FaultyLanguageModel, FaultyRecognizer, FaultySynthesizer


def test_all_that_works_is_said_with_its_times_and_exit_0(run, scripted):
    code, out, _ = run("doctor", "--config", scripted)

    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()] == [
        [stage, "scripted", "works"] for stage in ("vad", "tts", "stt", "llm")
    ]
    heard = re.search(r"final transcript in (\d+\.\d\d) s; understood 2 words in", out)
    assert heard is not None
    assert float(heard[1]) >= 0.05, "the scripted recogniser takes its time, and a busy machine takes more"
    assert re.search(r"first token in \d+\.\d\d s; answered in 2 pieces", out)


def test_a_server_that_is_not_there_is_exit_1_with_a_fix_and_its_fallback_is_asked_too(run, scripted):
    fallback = '[[providers.llm.fallback]]\nuse = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n'
    scripted.write_text(scripted.read_text() + fallback)

    code, out, _ = run("doctor", "--config", scripted, "--json")

    found = json.loads(out)
    assert (code, found["works"]) == (1, False)
    first, second = (each for each in found["providers"] if each["stage"] == "llm")
    assert (first["works"], second["works"]) == (True, False)
    assert second["where"] == "[[providers.llm.fallback]] no. 1"
    assert "no connection; is the server running" in second["message"]
    assert second["fix"]
    assert second["open_s"] is not None
    assert second["connect_s"] is None or second["first_s"] is None


def test_a_key_that_is_missing_is_said_and_no_key_is_ever_shown(run, scripted, monkeypatch):
    scripted.write_text(
        '[providers.vad]\nuse = "scripted"\n[providers.stt]\nuse = "scripted"\n[providers.tts]\nuse = "scripted"\n'
        '[providers.llm]\nuse = "openai"\nbase_url = "http://127.0.0.1:1/v1"\napi_key_env = "CANARY"\n'
    )
    monkeypatch.delenv("CANARY", raising=False)
    code, out, _ = run("doctor", "--config", scripted)
    assert code == 1
    assert "[providers.llm]: api_key_env: the environment variable CANARY is not set; export it" in out
    monkeypatch.setenv("CANARY", "sk-canary-key")
    code, out, err = run("doctor", "--config", scripted)
    assert code == 1
    assert "no connection" in out
    assert "sk-canary" not in out + err


def test_a_wrong_file_is_exit_2(run, scripted):
    scripted.write_text("[providers.llm]\nuse = 3\n")
    code, _, err = run("doctor", "--config", scripted)
    assert code == 2
    assert "no such provider" in err


# --- What is found ---------------------------------------------------------------------------------------------------------

FAULTY = {"stt": (HEARING, FaultyRecognizer), "llm": (WRITING, FaultyLanguageModel), "tts": (SPEECH, FaultySynthesizer)}


@pytest.fixture
def examined(scripted, monkeypatch):
    """The findings of an agent whose engine of one stage has a fault."""

    real, text = registry.open_provider, scripted.read_text()

    async def examine(stage, fault, more=""):
        scripted.write_text(text + more)
        _, wrapped = FAULTY[stage]

        def opened(of, name, settings=None):
            manager = real(of, name, settings)
            return _Wrapped(manager, wrapped, fault) if of == stage else manager

        monkeypatch.setattr(registry, "open_provider", opened)
        config = load(scripted, catalogue=registry)
        found = [each async for each in doctor.examine(config, patience_s=5)]
        (finding,) = (each for each in found if each.stage == stage)
        assert all(each.works for each in found if each.stage != stage)
        return finding

    return examine


class _Wrapped:
    def __init__(self, manager, kind, fault):
        self._manager, self._kind, self._fault = manager, kind, fault

    async def __aenter__(self):
        return self._kind(inner=await self._manager.__aenter__(), always=self._fault)

    async def __aexit__(self, *exc):
        return await self._manager.__aexit__(*exc)


@pytest.mark.parametrize("stage", FAULTY)
@pytest.mark.parametrize(
    ("fault", "message", "fix"),
    [
        (Fault(at=At.CONNECT, act=Act.HANG), "gave nothing for 5 s", "whether the service is up"),
        (Fault(at=At.FIRST, act=Act.HANG), "gave nothing for 5 s", "whether the service is up"),
        (Fault(at=At.FIRST, act=Act.CRITICAL), "scripted critical failure", "trying again cannot help"),
        (Fault(at=At.FIRST, act=Act.CRASH), "raised VendorCrash", "check the address"),
        (Fault(at=At.FIRST, act=Act.STOP), "", "check the address"),
        (Fault(at=At.FIRST, act=Act.GIVE, item=3), "gave int instead of", "check the address"),
    ],
    ids=lambda each: each.act.value if isinstance(each, Fault) else "",
)
async def test_whatever_is_wrong_is_told_with_something_to_do(autojump_clock, examined, stage, fault, message, fix):
    finding = await examined(stage, fault)
    assert not finding.works
    assert message in finding.message
    assert "canary" not in finding.message
    assert fix in finding.fix


async def test_one_that_works_too_slowly_for_the_conversation_is_told(autojump_clock, examined):
    slow = Fault(at=At.FIRST, act=Act.SLOW, seconds=3)
    finding = await examined("llm", slow)
    assert (finding.works, finding.fix, finding.first_s) == (True, "", pytest.approx(3))
    finding = await examined("llm", slow, "\n[providers.llm.attempts]\nfirst_s = 1\n")
    assert "slower than its attempts.first_s (1 s)" in finding.fix
    finding = await examined("llm", slow, "\n[conversation.timeouts]\nllm_first_s = 2\n")
    assert "slower than [conversation.timeouts] llm_first_s (2 s): a turn would have failed" in finding.fix


async def test_one_that_does_not_open_is_told(autojump_clock, scripted, monkeypatch):
    class Stuck:
        async def __aenter__(self):
            raise OSError("canary")

        async def __aexit__(self, *_):
            pass

    stuck = Provider(stage="llm", name="scripted", summary="", settings=WRITING.settings, open=lambda _: Stuck())
    monkeypatch.setattr(registry, "_load", lambda point, stage, name: stuck if stage == "llm" else point.load())
    found = [each async for each in doctor.examine(load(scripted, catalogue=registry))]
    assert (found[-1].works, found[-1].message) == (False, "llm provider raised OSError")
