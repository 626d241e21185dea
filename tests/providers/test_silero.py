from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import trio

from flare_actors.errors import ConfigError
from flare_actors.ports import BatchVoiceActivity, VoiceActivity
from flare_actors.providers import silero as module
from flare_actors.providers.silero import CHUNK_SAMPLES, SileroVoiceActivity

SECOND = 16_000


def chunks(samples: np.ndarray) -> list[bytes]:
    pcm = np.clip(samples * 32768, -32768, 32767).astype("<i2").tobytes()
    size = CHUNK_SAMPLES * 2
    return [pcm[at : at + size] for at in range(0, len(pcm) - size + 1, size)]


def noise(kind: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    t = np.arange(4 * SECOND) / SECOND
    match kind:
        case "silence":
            return np.zeros(4 * SECOND)
        case "white noise":
            return 0.1 * rng.standard_normal(4 * SECOND)
        case "a faint hiss":
            return 0.003 * rng.standard_normal(4 * SECOND)
        case "mains hum":
            return 0.2 * np.sin(2 * np.pi * 50 * t) + 0.1 * np.sin(2 * np.pi * 100 * t)
        case "beeps":
            return 0.3 * np.sin(2 * np.pi * 1000 * t) * (np.sin(2 * np.pi * t) > 0)
        case "knocks":
            door = np.zeros(4 * SECOND)
            blow = np.exp(-np.arange(4000) / 300) * rng.standard_normal(4000) * 0.8
            for at in (0.5, 0.8, 1.1, 2.5):
                door[round(at * SECOND) : round(at * SECOND) + 4000] += blow
            return door
    raise AssertionError(kind)


@pytest.mark.needs("local")
@pytest.mark.parametrize("kind", ["silence", "white noise", "a faint hiss", "mains hum", "beeps", "knocks"])
async def test_what_is_not_speech_is_not_taken_for_it(silero, kind):
    detector = await silero.open()

    assert max(map(detector.process, chunks(noise(kind)))) < 0.5


@pytest.mark.needs("local")
async def test_a_person_speaking_is_heard_and_the_pauses_too(silero):
    from benchmarks.speech import recording

    detector = await silero.open()
    probabilities = list(map(detector.process, chunks(recording("beckett.wav"))))

    voiced = [each >= 0.5 for each in probabilities]
    begins = sum(1 for before, now in zip([False, *voiced], voiced, strict=False) if now and not before)
    assert 0.3 < sum(voiced) / len(voiced) < 0.8
    assert 6 <= begins <= 9, "six short sentences with pauses between them"


@pytest.mark.needs("local")
async def test_detectors_share_a_model_and_not_their_past(silero):
    from benchmarks.speech import recording

    heard = chunks(recording("beckett.wav"))[:60]
    alone = await silero.open()
    expected = list(map(alone.process, heard))

    one, other = await silero.open(), await silero.open()
    mixed = []
    for chunk in heard:
        mixed.append(one.process(chunk))
        other.process(bytes(len(chunk)))

    assert mixed == expected


@pytest.mark.needs("local")
async def test_streams_that_are_heard_together_hear_what_each_does_by_itself(silero):
    from benchmarks.speech import recording

    speech = chunks(recording("beckett.wav"))[:60]
    streams = [speech, speech[10:], [bytes(len(speech[0]))] * 60, speech[25:]]
    expected = []
    for stream in streams:
        detector = await silero.open()
        expected.append(list(map(detector.process, stream)))

    together = [await silero.open() for _ in streams]
    found = [[] for _ in streams]
    for number in range(60):  # Streams end, and each now and then is heard by itself.
        these = [each for each, stream in enumerate(streams) if number < len(stream)]
        alone = these.pop(number % len(these)) if number % 3 == 0 else None
        given = silero.process_many([(together[each], streams[each][number]) for each in these])
        for each, probability in zip(these, given, strict=True):
            found[each].append(probability)
        if alone is not None:
            found[alone].append(together[alone].process(streams[alone][number]))

    assert isinstance(silero, BatchVoiceActivity)
    assert max(expected[0]) > 0.9
    for one, many in zip(expected, found, strict=True):
        assert many == pytest.approx(one, abs=1e-4)


@pytest.mark.needs("local")
async def test_a_batch_with_a_chunk_of_another_length_changes_no_stream(silero):
    one, other, reference = [await silero.open() for _ in range(3)]
    with pytest.raises(ValueError, match="512 samples"):
        silero.process_many([(one, bytes(1024)), (other, bytes(1000))])

    assert one.process(bytes(1024)) == reference.process(bytes(1024))


@pytest.mark.needs("local")
async def test_reset_is_as_good_as_a_new_detector(silero):
    from benchmarks.speech import recording

    heard = chunks(recording("beckett.wav"))[:40]
    detector = await silero.open()
    first = list(map(detector.process, heard))
    detector.reset()

    assert list(map(detector.process, heard)) == first


@pytest.mark.needs("local")
async def test_every_chunk_is_seen_behind_the_last_64_samples_of_the_one_before(silero):
    from benchmarks.speech import recording

    heard = chunks(recording("beckett.wav"))[:40]
    detector = await silero.open()
    ours = list(map(detector.process, heard))

    # As the model's authors feed it (silero-vad 6.2.3, OnnxWrapper).
    context, state, reference = np.zeros(64, np.float32), np.zeros((2, 1, 128), np.float32), []
    for chunk in heard:
        samples = np.frombuffer(chunk, "<i2").astype(np.float32) / 32768
        window = np.concatenate([context, samples])[None]
        out, state = detector._session.run(None, {"input": window, "state": state, "sr": np.array(16_000)})
        reference.append(float(out[0, 0]))
        context = samples[-64:]

    assert ours == pytest.approx(reference, abs=1e-5)
    assert max(ours) > 0.9


@pytest.mark.needs("local")
async def test_a_chunk_of_another_length_is_a_bug_of_the_caller(silero):
    detector = await silero.open()

    with pytest.raises(ValueError, match="512 samples"):
        detector.process(bytes(1000))


async def test_many_who_open_it_at_once_load_the_model_once(monkeypatch):
    loads = []
    go_on = threading.Event()

    def load():
        loads.append(1)
        go_on.wait(10)
        return object()

    monkeypatch.setattr(module, "_load", load)
    vad = SileroVoiceActivity()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(vad.open)
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()

    assert loads == [1]


async def test_without_its_engine_one_sentence_says_what_to_install_and_where_it_exists(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(ConfigError) as caught:
        await SileroVoiceActivity().open()

    message = str(caught.value)
    assert "\n" not in message
    for word in ("onnxruntime", 'pip install "flare-actors[local]"', "macOS", "Windows", "aarch64"):
        assert word in message


def test_it_is_a_voice_activity(silero):
    assert isinstance(silero, VoiceActivity)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the system's own folder says nothing of it")
@pytest.mark.needs("local")
def test_onnxruntime_gathers_nothing_for_its_maker(tmp_path):
    code = "from flare_actors.providers._extras import need; need('onnxruntime')"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    theirs = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code], env=theirs | home, check=True)
    assert not list(tmp_path.rglob("*onnxruntime*"))
