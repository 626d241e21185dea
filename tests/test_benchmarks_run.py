"""The benchmarks of sessions still work, on virtual time: their figures mean nothing here, but they get to the end."""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from trio.testing import MockClock

from benchmarks import audio_in, barge_in, duplex, first_audio, many_sessions, peers, session_cost, step
from benchmarks.__main__ import NAMES, main, module, question
from benchmarks.compare import compare
from benchmarks.peers import harness_kit
from benchmarks.report import Metric, summary, table
from flare_actors.garbage import calm_garbage_collection


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_asks_a_question(name: str) -> None:
    assert question(module(name)).rstrip("`*").count("?") >= 1


def test_the_peers_are_measured_with_our_settings_of_garbage_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[object, ...]] = []
    for name in ("collect", "freeze", "set_threshold"):
        monkeypatch.setattr(gc, name, lambda *values, name=name: done.append((name, *values)))
    harness_kit.freeze()
    theirs = done.copy()
    done.clear()
    calm_garbage_collection()
    assert theirs == done


def test_our_own_harness_beside_the_peers_answers() -> None:
    command = [sys.executable, "-m", "benchmarks.peers.ours_harness", "session_cost", "1"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert found.keys() == {"start_ms", "stop_ms", "idle_session_kib", "tasks"}


def test_figures_of_peers_beside_none_of_ours_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    ours: dict[str, object] = dict.fromkeys(peers.METRICS)
    for found, code in (({peers.OURS: ours}, 0), ({peers.OURS: {}, "pipecat_lean": ours}, 1), ({}, 1)):
        monkeypatch.setattr("benchmarks.__main__.run", lambda *_args, found=found, **_options: {"peers": found})
        monkeypatch.setattr(sys, "argv", ["benchmarks", "peers"])
        assert main() == code


async def test_first_audio_and_interruptions_are_timed(autojump_clock: MockClock) -> None:
    (marks,) = await first_audio.turns(1, rests=True)  # virtual time does not pass while the processor is busy
    assert {"transcript", "asked", "phrase", "AudioOut"} <= marks.keys()
    for how in barge_in.WAYS:
        (found,) = await barge_in.interruptions(1, how, rests=True)
        assert len(found) == len(barge_in.NAMES)


async def test_recorded_steps_are_folded(autojump_clock: MockClock) -> None:
    start, events = await step.record()
    took = step.each_step(start, events, 1)
    assert {"TranscriptFinished", "InterruptRequested", "PlaybackFinished"} <= took.keys()
    assert sum(map(len, took.values())) == len(events)


async def test_many_sessions_hear_and_are_heard(autojump_clock: MockClock) -> None:
    assert await audio_in.frame_us(0.5, sessions=2) >= 0
    _, spoken = await duplex.in_process(1.0, 2)
    assert spoken == pytest.approx(1.0, abs=0.2)
    users = await many_sessions.live(2, 8.0)
    assert all(user.first_audio_ms and user.jitter_ms for user in users)


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
async def test_sessions_are_counted_and_weighed(autojump_clock: MockClock) -> None:
    assert len(await session_cost.start_and_stop(1)) == 1
    ((size, _, tasks, _),) = await session_cost.growth((3,))
    assert (size, tasks) == (3, 7.0)


@pytest.mark.needs("local")
def test_recorded_utterances_begin_and_end_where_somebody_speaks() -> None:
    from benchmarks.corpus import LEAD_S, _human, _peak_db
    from benchmarks.speech import RATE

    clips = list(_human(random.Random(1)))
    assert {clip.voice for clip in clips} == {
        f"human/{name}" for name in ("two_cities", "beckett", "endgame_nagg_nell")
    }
    for clip in clips:
        begin, end = round(LEAD_S * RATE), round(clip.end_s * RATE)
        room = _peak_db(clip.samples[end:])
        assert _peak_db(clip.samples[begin:end]) > room + 20, f"{clip.name}: nobody speaks"
        assert len(clip.samples) - end > 2 * RATE, f"{clip.name}: what is behind its end is silence"
        assert _peak_db(clip.samples[:begin]) < room + 3, clip.name


def test_a_slower_run_is_told_from_a_faster_one(capsys: pytest.CaptureFixture[str]) -> None:
    def report(us: float, rate: float, *, quiet: bool = True) -> dict[str, object]:
        metrics = {"step": summary([us], "us", floor=2.0), "fold": summary([rate], "1/s")}
        return {
            "machine": {"processor": "x"},
            "noise": {"step": {"trusted": quiet, "why": []}},
            "benchmarks": {"step": {name: attrs.asdict(value) for name, value in metrics.items()}},
        }

    assert not compare(report(10, 100), report(11, 110))
    assert compare(report(10, 100), report(13, 100))
    assert compare(report(10, 100), report(10, 70))
    told = capsys.readouterr().out
    assert "SLOWER" in told
    assert "NOT TO BE TRUSTED" not in told
    assert compare(report(10, 100, quiet=False), report(13, 100))
    assert "not quiet in the baseline" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), ("{", "is not what"), ("[]", "is not what"), ("{}", "is not what")]
)
def test_a_baseline_that_is_none_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str | None, why: str
) -> None:
    file = tmp_path / "baseline.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "step", "--compare", str(file)])
    with pytest.raises(SystemExit):
        main()
    assert why in capsys.readouterr().err


def test_pictures_without_matplotlib_are_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "step", "--plot", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "pip install -e '.[plot]'" in capsys.readouterr().err


def test_figures_tell_median_tail_and_floor() -> None:
    found = summary(range(1, 1001), "us", floor=100.0)
    assert (found.median, found.p99, found.p999, found.max, found.n, found.ratio) == (500.5, 990, 999, 1000, 1000, 5.0)
    assert len(found.quantiles) == 41
    assert "x 5" in table({"it": found})
    assert isinstance(found, Metric)
