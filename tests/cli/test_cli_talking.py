from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from flare_actors.audio import level_db
from flare_actors.cli.talk import _tell, _text
from flare_actors.conversation.notices import ErrorRaised, NothingHeard, TurnEnded
from flare_actors.conversation.states import Reason
from flare_actors.providers.scripted import tone
from flare_actors.talk import Latency, TalkReport, TurnReport, read_wav, write_wav


def test_json_is_exactly_one_object_on_stdout(run, scripted, question, tmp_path):
    answer = tmp_path / "answer.wav"
    code, out, err = run("talk", question, "--config", scripted, "--fast", "--json", "--out", answer)
    assert code == 0
    report = json.loads(out)
    assert list(report) == ["transcript", "answer", "answer_seconds", "turns", "states", "latency"]
    assert report["transcript"] == "one two three four"
    assert report["answer"] == "First answer. Second answer."
    assert [turn["transcript"] for turn in report["turns"]] == ["one two", "three four"]
    assert report["states"][0] == "idle"
    assert report["states"][-1] == "ended"
    shares = dict(report["latency"])
    total = shares.pop("total")
    assert list(shares) == ["endpoint_wait", "stt", "first_token", "first_phrase", "first_audio"]
    assert sum(shares.values()) == pytest.approx(total, abs=0.001)
    assert read_wav(answer).duration_s == pytest.approx(report["answer_seconds"], abs=0.001)
    assert "playing" in err
    assert "heard: one two" in err


def test_without_json_a_person_reads_what_was_said_and_how_long_it_took(run, scripted, question):
    code, out, _ = run("talk", question, "--config", scripted, "--fast")
    assert code == 0
    assert "you    one two\nagent  First answer." in out
    for stage in ("endpoint_wait", "stt", "first_token", "first_phrase", "first_audio", "total"):
        assert stage in out
    assert "2 answers" in out


def test_a_wait_that_cannot_be_measured_is_a_question_mark_and_says_why(run, scripted, tmp_path):
    write_wav(tmp_path / "noisy.wav", tone(0.6) + tone(2.0, level_db=-50), 16_000)
    code, out, err = run("talk", tmp_path / "noisy.wav", "--config", scripted, "--fast")
    assert code == 0
    assert re.search(r"endpoint_wait +\? ms$", out, re.MULTILINE)
    assert re.search(r"stt +\d+ ms", out)
    assert re.search(r"total +\? ms$", out, re.MULTILINE)
    assert "background noise is within 35 dB" in err


def test_a_wait_that_adapts_is_not_taken_for_noise(run, scripted, tmp_path):
    text = scripted.read_text(encoding="utf-8").replace('"one two"', '"What time is it?"')
    scripted.write_text(text.replace("delay_s", "partials = true\ndelay_s"), encoding="utf-8")
    write_wav(tmp_path / "question.wav", tone(0.9), 16_000)
    code, out, err = run("talk", tmp_path / "question.wav", "--config", scripted, "--fast", "--json")
    assert code == 0
    assert 0.25 < json.loads(out)["latency"]["endpoint_wait"] < 0.4
    assert "background noise" not in err


def test_an_engine_that_fails_is_exit_1_and_what_it_did_not_say_is_no_answer(run, question, tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(
        '[providers.llm]\nuse = "openai"\nmodel = "any"\nbase_url = "http://127.0.0.1:9/v1"\n'
        + "".join(f'[providers.{stage}]\nuse = "scripted"\n' for stage in ("vad", "stt", "tts")),
        encoding="utf-8",
    )
    code, out, err = run("talk", question, "--config", file, "--fast")
    assert code == 1
    assert "0 answers, 0.0 s of speech" in out
    assert "flare-actors doctor" in err


def test_a_recording_without_speech_is_told_and_no_failure(run, scripted, tmp_path):
    write_wav(tmp_path / "silence.wav", bytes(16_000), 16_000)
    code, out, err = run("talk", tmp_path / "silence.wav", "--config", scripted, "--fast", "--json")
    assert code == 0
    assert json.loads(out)["turns"] == []
    assert "no speech was understood" in err


def test_a_file_that_is_no_recording_is_exit_2(run, scripted, tmp_path):
    (tmp_path / "in.wav").write_bytes(b"ID3" + bytes(20))
    code, out, err = run("talk", tmp_path / "in.wav", "--config", scripted)
    assert (code, out) == (2, "")
    assert "in.wav: is an MP3 file; convert it: ffmpeg" in err


def test_fast_and_barge_in_do_not_go_together(run, scripted, question):
    code, _, err = run("talk", question, "--config", scripted, "--fast", "--barge-in")
    assert code == 2
    assert "leave one out" in err


def test_a_wrong_configuration_is_exit_2_before_anything_is_played(run, question, tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text("[conversation]\nendpoint_s = -1", encoding="utf-8")
    code, out, err = run("talk", question, "--config", file)
    assert (code, out) == (2, "")
    assert err == f"Error: {file}: [conversation] endpoint_s: must be > 0, got -1\n"


@pytest.mark.needs("local")
def test_a_locale_that_an_engine_does_not_know_is_exit_2(run, question, tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(
        '[conversation]\nlocale = "sv-SE"\n'
        + "".join(f'[providers.{stage}]\nuse = "scripted"\n' for stage in ("vad", "stt", "llm")),
        encoding="utf-8",
    )
    code, _, err = run("talk", question, "--config", file)
    assert code == 2
    assert "[conversation] locale: hibari ([providers.tts]) knows en" in err


@pytest.mark.parametrize(
    ("notice", "told"),
    [
        (NothingHeard(utterance=1), "heard nothing"),
        (TurnEnded(turn=1, reason=Reason.BARGE_IN, heard="a"), "stopped: barge_in"),
        (ErrorRaised(code="x", message="the model is gone", recoverable=True), "error: the model is gone"),
        (
            ErrorRaised(code="llm_failed", message="no answer", recoverable=True),
            "error: no answer (`flare-actors doctor` asks the engines what is wrong)",
        ),
    ],
)
def test_trouble_is_told_while_it_happens(capsys, notice, told):
    _tell(notice)
    assert told in capsys.readouterr().err


def test_an_answer_that_was_cut_off_and_one_without_audio_are_told_as_such():
    turn = TurnReport(turn=1, transcript="a", answer="b", answer_seconds=0, stopped=Reason.BARGE_IN, latency=Latency())
    text = _text(TalkReport(turns=(turn,), transcript="a", states=(), audio=b"", sample_rate=16_000))
    assert "(stopped: barge_in)" in text
    assert "(no audio)" in text


@pytest.mark.needs("local")
def test_a_real_recording_is_understood_by_the_real_engines(run, tmp_path):
    import moonshine_voice

    recording = Path(moonshine_voice.__file__).parent / "assets" / "beckett.wav"
    file = tmp_path / "agent.toml"
    file.write_text('[providers.llm]\nuse = "scripted"\nscript = ["I see."]', encoding="utf-8")
    code, out, _ = run("talk", recording, "--config", file, "--fast", "--json", "--out", tmp_path / "answer.wav")
    assert code == 0
    report = json.loads(out)
    assert {"ever", "tried", "failed", "matter", "better"} <= set(re.findall(r"\w+", report["transcript"].lower()))
    assert all(turn["answer"] == "I see." for turn in report["turns"])
    assert level_db(read_wav(tmp_path / "answer.wav").pcm) > -40


def test_speech_is_on_the_screen_but_in_no_log(run, scripted, question):
    _, _, err = run("talk", question, "--config", scripted, "--fast", "--log-level", "debug", "--log-format", "json")
    logged = [line for line in err.splitlines() if line.startswith("{")]
    assert any('"transition"' in line for line in logged)
    assert not any("one two" in line or "First answer" in line for line in logged)
