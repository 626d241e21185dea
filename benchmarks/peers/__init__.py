"""The same questions, asked of Pipecat and LiveKit Agents, in one run: how many times as long do they take?

All in turn, again and again, each measure in a process of its own. A ratio is the median of the rounds' ratios: within a round
one is asked right after the other, while a shared machine may be twice as fast in one minute as in the next. Beside their
leanest settings those that they come with, and a plain asyncio event bus, which is what this project replaces. Their artificial
waits are off (each harness says which), so that what is compared is the frameworks' own work.
``python -m benchmarks.peers.install`` installs them.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import trio

from benchmarks.peers.install import INSTALLED, python
from benchmarks.report import Metric, Options, summary

__all__ = ["METRICS", "OURS", "PEERS", "measure_peers", "table"]

OURS: Final = "flare_actors"
Values: TypeAlias = dict[str, dict[str, dict[int, list[float]]]]
"""PEER -> METRIC -> round -> what was measured."""
PEERS: Final[dict[str, tuple[str, ...]]] = {
    OURS: ("-m", "benchmarks.peers.ours_harness"),
    "pipecat_lean": ("pipecat",),
    "pipecat_default": ("pipecat", "default"),
    "livekit_lean": ("livekit",),
    "livekit_default": ("livekit", "default"),
    "asyncio_bus": ("bus",),
}
MEASURES: Final = {
    "first_audio": (60, 7),
    "session_cost": (20, 5),
    "audio_in": (1, 3),
    "audio_in_vad": (1, 3),
    "duplex": (1, 3),
}
"""How often each is repeated within one process, and in how many rounds everyone is asked, one after the other."""
LACKING: Final = frozenset(
    {
        ("asyncio_bus", "audio_in_vad"),  # It has no detector,
        ("asyncio_bus", "duplex"),  # and does not hear while it speaks.
        ("livekit_default", "first_audio"),  # Its waits (0.5 s) are what it would measure;
        ("livekit_default", "session_cost"),  # so here (2 s to close).
        ("livekit_default", "audio_in"),
        ("livekit_default", "audio_in_vad"),
        ("livekit_default", "duplex"),
        ("pipecat_default", "audio_in_vad"),
    }
)
METRICS: Final = {
    "first_audio_ms": "final transcript to first audio, ms",
    "output_silent_ms": "interruption to silence, ms",
    "tts_closed_ms": "interruption to synthesizer stopped, ms",
    "audio_in_us": "20 ms of microphone, us of CPU",
    "audio_in_silero_us": "the same with Silero VAD, us of CPU",
    "duplex_sessions_per_core": "duplex sessions per core",
    "idle_session_kib": "idle session, KiB",
    "start_ms": "start a session, ms",
    "stop_ms": "stop a session, ms",
    "tasks": "tasks of an idle session",
}
_UNITS: Final = {"ms": "ms", "us": "us", "core": "sessions", "kib": "KiB", "tasks": "tasks"}
_PATIENCE_S: Final = 180.0


async def _ask(peer: str, measure: str, count: int) -> dict[str, list[float]]:
    """One measure of one peer; empty: it failed, and what it said last is printed."""
    kind, *arguments = PEERS[peer]
    folder = Path(__file__).parent
    if peer == OURS:
        command = [sys.executable, *PEERS[peer], measure, str(count)]
    else:
        interpreter = str(python(kind)) if kind in INSTALLED else sys.executable
        command = [interpreter, str(folder / f"{kind}_harness.py"), measure, str(count), *arguments]
    with trio.move_on_after(_PATIENCE_S):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        lines = done.stdout.decode().strip().splitlines()
        if done.returncode == 0 and lines:
            found: dict[str, list[float]] = json.loads(lines[-1])
            return found
        print(*done.stderr.decode(errors="replace").strip().splitlines()[-3:], sep="\n", file=sys.stderr)
    print(f"{peer}: {measure} gave nothing", file=sys.stderr)
    return {}


async def measure_peers(options: Options) -> dict[str, dict[str, dict[str, Any]]]:
    """Everyone in turn: PEER -> METRIC -> the figure's fields and ``ratio_to_ours``."""
    peers = [peer for peer, (kind, *_) in PEERS.items() if kind not in INSTALLED or python(kind).exists()]
    for peer in PEERS.keys() - set(peers):
        print(f"{peer}: not installed; python -m benchmarks.peers.install", file=sys.stderr)
    values: Values = {peer: {} for peer in peers}
    for number in range(1 if options.quick else max(rounds for _, rounds in MEASURES.values())):
        for measure, (count, rounds) in MEASURES.items():
            if number >= rounds:
                continue
            for peer in peers:
                if (peer, measure) in LACKING:
                    continue
                for metric, found in (await _ask(peer, measure, count)).items():
                    values[peer].setdefault(metric, {})[number] = found
    return compared(values)


def compared(values: Values) -> dict[str, dict[str, dict[str, Any]]]:
    """Each figure's fields, and how many times better ours is: the median of the rounds in which both were measured."""
    ours = values[OURS]
    return {
        peer: {
            metric: {
                **attrs.asdict(_summary(metric, rounds)),
                "ratio_to_ours": _ratio(metric, rounds, ours.get(metric, {})),
            }
            for metric, rounds in metrics.items()
            if any(rounds.values())
        }
        for peer, metrics in values.items()
    }


def _summary(metric: str, rounds: Mapping[int, list[float]]) -> Metric:
    return summary([each for found in rounds.values() for each in found], _UNITS[metric.rpartition("_")[2]], floor=None)


def _ratio(metric: str, theirs: Mapping[int, list[float]], ours: Mapping[int, list[float]]) -> float | None:
    ratios = []
    for number in theirs.keys() & ours.keys():
        one, other = theirs[number], ours[number]
        if not (one and other):
            continue
        if _summary(metric, theirs).better == "higher":
            one, other = other, one
        worse, better = statistics.median(one), statistics.median(other)
        ratios.append(worse / better if better else 0.0)
    return round(statistics.median(ratios), 2) if ratios else None


def table(peers: dict[str, dict[str, dict[str, Any]]]) -> str:
    """One line a question, one column a peer: the median, and how many times better ours is."""
    columns = list(peers)
    lines = [f"| | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for metric, question in METRICS.items():
        cells = []
        for peer in columns:
            figure = peers[peer].get(metric)
            if figure is None:
                cells.append("-")
            elif peer == OURS:
                cells.append(f"**{figure['median']:.3g}** (p99 {figure['p99']:.3g})")
            else:
                ratio = figure["ratio_to_ours"]
                cells.append(f"{figure['median']:.3g}" + (f" (x {ratio:.3g})" if ratio else ""))
        lines.append(f"| {question} | {' | '.join(cells)} |")
    return "\n".join(lines)
