"""``flare-actors talk``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import click

from flare_actors.cli.common import FetchBar, config_option, log_options, read_config, set_logs_up

if TYPE_CHECKING:
    from flare_actors.config import Config
    from flare_actors.conversation.notices import ErrorRaised, Notice
    from flare_actors.conversation.settings import Settings
    from flare_actors.talk import Latency, Recording, TalkReport

__all__ = ["talk"]

_NOISE_S: Final = 0.1
"""An endpoint cannot come this much before the shortest silence is over: then that was, by its level, none."""
_BAR_WIDTH: Final = 40


@click.command(short_help="Play a recording to the agent and hear what it answers, and how fast.")
@click.argument("recording", metavar="IN.wav", type=click.Path(path_type=Path))
@click.option("--out", metavar="ANSWER.wav", type=click.Path(path_type=Path), help="Write what was answered.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--fast", is_flag=True, help="As fast as the engines go, instead of in real time.")
@click.option("--barge-in", is_flag=True, help="Play straight on, into the answers too, instead of waiting for them.")
@log_options
def talk(
    recording: Path,
    out: Path | None,
    config_file: Path | None,
    as_json: bool,
    fast: bool,
    barge_in: bool,
    log_format: str | None,
    log_level: str | None,
    log_speech: bool | None,
) -> None:
    """Play IN.wav to the agent, which answers every utterance in it.

    Any WAV will do: 8 to 48 kHz, integer or float, mono or stereo. The recording is held at the end of each utterance until
    it was answered. Then transcript, answers and the time of each stage are printed: from the end of speech (the last
    20 ms within 35 dB of the loudest) to the first sample of the answer above -50 dBFS. The exit code is 1 if an engine failed.

    \b
    flare-actors talk question.wav --out answer.wav
    flare-actors talk question.wav --json | python -m json.tool
    """  # noqa: D301 # click reads \b as "do not wrap"
    import trio

    from flare_actors.talk import read_wav, write_wav

    if fast and barge_in:
        raise click.UsageError("--fast and --barge-in: nobody can be interrupted who speaks in no time; leave one out")
    config = read_config(
        config_file,
        {
            "logs.format": ("--log-format", log_format),
            "logs.level": ("--log-level", log_level),
            "logs.speech": ("--log-speech", log_speech),
        },
    )
    # The transcript is on the screen anyway; logs are for trouble, unless somebody asks for them.
    set_logs_up(config, level=log_level or "warning")
    recorded = read_wav(recording)
    if out is not None and not out.parent.is_dir():
        raise click.UsageError(f"--out {out}: there is no folder '{out.parent}'; create it first")
    errors: list[ErrorRaised] = []
    report = trio.run(_talk, config, recorded, fast, barge_in, errors)
    if not report.transcript:
        click.echo(f"{recording}: no speech was understood", err=True)
    if _too_loud(report, config.conversation):
        click.echo(
            f"{recording}: its background noise is within 35 dB of its loudest moment, so the end of speech is taken too "
            "late and the first share (and the total) come out too short, or cannot be told (?); use a quieter recording to "
            "measure",
            err=True,
        )
    click.echo(json.dumps(report.as_json(), ensure_ascii=False) if as_json else _text(report))
    if out is not None:
        write_wav(out, report.audio, report.sample_rate)
    if errors:
        sys.exit(1)


def _too_loud(report: TalkReport, settings: Settings) -> bool:
    """Did an endpoint come sooner than it can, by the recording's level?"""
    from flare_actors.conversation.states import Endpointing
    from flare_actors.conversation.turn_end import Ending, wait_s

    adaptive = settings.endpointing is Endpointing.ADAPTIVE
    shortest_s = wait_s(settings, Ending.FINISHED) if adaptive else settings.endpoint_s
    heard = [turn.latency for turn in report.turns if turn.latency.stt is not None]
    return any((each.endpoint_wait or 0.0) < shortest_s - _NOISE_S for each in heard)


async def _talk(
    config: Config, recording: Recording, fast: bool, barge_in: bool, errors: list[ErrorRaised]
) -> TalkReport:
    """Adds to ``errors`` what the user was told of."""
    from flare_actors.config.agent import open_agent
    from flare_actors.conversation.notices import ErrorRaised
    from flare_actors.logs import LogObserver
    from flare_actors.talk import talk as hold

    def watch(notice: Notice) -> None:
        if isinstance(notice, ErrorRaised):
            errors.append(notice)
        _tell(notice)

    with FetchBar() as bar:
        async with open_agent(config, progress=bar) as agent:
            click.echo(f"playing {recording.duration_s:.1f} s" + (" at full speed" if fast else ""), err=True)
            return await hold(
                agent, recording, realtime=not fast, barge_in=barge_in, watch=watch, observers=[LogObserver()]
            )


def _tell(notice: Notice) -> None:
    """Show on stderr what is going on."""
    from flare_actors.conversation.notices import (
        ErrorRaised,
        NothingHeard,
        ResponseTextDone,
        TranscriptReceived,
        TurnEnded,
    )
    from flare_actors.errors import Stage

    match notice:
        case TranscriptReceived(final=True, text=text) if text.strip():
            click.echo(f"  heard: {text.strip()}", err=True)
        case NothingHeard():
            click.echo("  heard nothing", err=True)
        case ResponseTextDone(text=text):
            click.echo(f"  says: {text.strip()}", err=True)
        case TurnEnded(reason=reason) if reason is not None:
            click.echo(f"  stopped: {reason.value}", err=True)
        case ErrorRaised(code=code, message=message):
            engine = code.removesuffix("_failed") in get_args(Stage)
            why = " (`flare-actors doctor` asks the engines what is wrong)" if engine else ""
            click.echo(f"  error: {message}{why}", err=True)
        case _:
            pass


def _text(report: TalkReport) -> str:
    lines = []
    for turn in report.turns:
        lines += [f"you    {turn.transcript}", f"agent  {turn.answer}"]
        if turn.stopped:
            lines.append(f"       (stopped: {turn.stopped.value})")
        lines += ["", *_waterfall(turn.latency), ""]
    heard = sum(turn.answer_seconds > 0 for turn in report.turns)
    lines.append(f"{heard} answer{'' if heard == 1 else 's'}, {report.answer_seconds:.1f} s of speech")
    return "\n".join(lines)


def _waterfall(latency: Latency) -> list[str]:
    """Draw the shares of a turn's latency, one below the other."""
    from flare_actors.talk import STAGES

    shares: list[float | None] = [getattr(latency, stage) for stage in STAGES]
    if not any(share is not None for share in shares):
        return ["       (no audio)"]
    known = sum(share or 0.0 for share in shares)
    lines = []
    at = 0.0
    for stage, share in zip(STAGES, shares, strict=True):
        first = round(at / known * _BAR_WIDTH) if known > 0 else 0
        at += share or 0.0
        last = round(at / known * _BAR_WIDTH) if known > 0 else 0
        bar = " " * first + "█" * max(0, last - first)
        lines.append(f"       {stage:<14}{_milliseconds(share)}  {bar}".rstrip())
    return [*lines, f"       {'total':<14}{_milliseconds(latency.total)}"]


def _milliseconds(seconds: float | None) -> str:
    return f"{'?' if seconds is None else format(seconds * 1000, '.0f'):>6} ms"
