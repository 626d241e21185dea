"""For maintainers: write docs/performance.md's figures anew, ``python -m benchmarks.docs RESULTS.json``.

The results are those of ``python -m benchmarks all --json``. They become docs/performance.json, from which a test makes the
page's parts again: no figure in them is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks import peers
from benchmarks.report import Metric, read_report, table

__all__ = ["PAGE", "RECORDED", "parts", "rewritten"]

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = DOCS / "performance.md"
RECORDED: Final = DOCS / "performance.json"
PICTURES: Final = DOCS / "images" / "performance"


@attrs.frozen
class Goal:
    """What a figure is to reach."""

    what: str
    benchmark: str
    metric: str
    bound: float
    field: str = "median"

    def line(self, report: dict[str, Any]) -> str:
        """A row of the table: the goal, what was measured, whether that is reached."""
        fields = report["benchmarks"].get(self.benchmark, {}).get(self.metric)
        more = fields is not None and fields["better"] == "higher"
        goal = f"{'>=' if more else '<='} {self.bound:g}"
        if fields is None:
            return f"| {self.what} | {self.bound:g} | not measured in this run | |"
        value = fields[self.field]
        reached = value >= self.bound if more else value <= self.bound
        return f"| {self.what} | {goal} {fields['unit']} | {value:.3g} | {'reached' if reached else '**missed**'} |"


GOALS: Final = (
    Goal("final transcript to first audio, median", "first_audio", "first_audio", 0.5),
    Goal("... 99 of 100", "first_audio", "first_audio", 1.5, "p99"),
    Goal("... 999 of 1,000, with 100 live sessions", "many_sessions", "first_audio@100", 5.0, "p999"),
    Goal("interruption to silence, median", "barge_in", "call.output_silent", 0.2),
    Goal("... 99 of 100", "barge_in", "call.output_silent", 0.5, "p99"),
    Goal("interruption to synthesizer stopped, median", "barge_in", "call.tts_closed", 0.2),
    Goal("20 ms of microphone at 20 sessions, CPU", "audio_in", "instant_vad", 20.0),
    Goal("the same with Silero VAD", "audio_in", "silero", 130.0),
    Goal("duplex sessions per core, in-process", "duplex", "in_process.sessions_per_core", 200.0),
    Goal("duplex sessions per core, through a WebSocket", "duplex", "websocket.sessions_per_core", 60.0),
    Goal("idle session, at 1,000", "session_cost", "rss@1000", 60.0),
    Goal("idle session, at 5,000", "session_cost", "rss@5000", 60.0),
    Goal("start a session", "session_cost", "start", 0.5),
    Goal("stop a session", "session_cost", "stop", 0.3),
)


def parts(report: dict[str, Any]) -> dict[str, str]:
    """The page's generated parts, by name."""
    place = report["machine"]
    gc = place["gc"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    run = [
        (
            f"{place['processor']}, {place['cores']} cores, {place['system']}; Python {place['python']}; garbage collection "
            f"{'on' if gc['enabled'] else 'off'}, thresholds {'/'.join(map(str, gc['thresholds']))}; {versions}."
        )
    ]
    doubts = [name for name, verdict in report["noise"].items() if not verdict["trusted"]]
    if report["quick"]:
        run.append("This was a `--quick` run: a first impression.")
    if doubts:
        run.append(f"The noise check does not trust these, since the machine was not quiet: {', '.join(doubts)}.")
    goals = ["| | goal | measured | |", "| --- | --- | --- | --- |", *(goal.line(report) for goal in GOALS)]
    compared = peers.table(report["peers"]) if "peers" in report else "Not measured in this run."
    figures = []
    for name, metrics in report["benchmarks"].items():
        shown = table({metric: Metric(**fields) for metric, fields in metrics.items()})
        figures.append(f"### {name}\n\n![{name}](images/performance/{name}.png)\n\n```text\n{shown}\n```")
    return {"run": " ".join(run), "goals": "\n".join(goals), "peers": compared, "figures": "\n\n".join(figures)}


def rewritten(page: str, report: dict[str, Any]) -> str:
    """The page with its parts made anew."""
    for name, text in parts(report).items():
        marked = re.compile(rf"(<!-- {name}: begin [^\n]*-->\n).*(<!-- {name}: end -->)", re.DOTALL)
        page, count = marked.subn(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", page)  # type: ignore[misc]
        if count != 1:
            raise ValueError(
                f"{PAGE.name} needs one part between '<!-- {name}: begin ... -->' and '<!-- {name}: end -->'"
            )
    return page


def main() -> None:
    """Record a run and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.docs", description=__doc__)
    parser.add_argument("results", type=Path, metavar="RESULTS.json", help="of python -m benchmarks all --json")
    try:
        report = read_report(parser.parse_args().results)
    except ValueError as error:
        parser.error(str(error))
    missing = {goal.benchmark for goal in GOALS} - report["benchmarks"].keys()
    if report["quick"] or missing:
        lacks = f"lacks {', '.join(sorted(missing))}" if missing else "is a --quick one"
        parser.error(f"this run {lacks}; the page is written from a whole one, and not in part")
    from benchmarks.plots import draw

    RECORDED.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8"), report), encoding="utf-8")
    for path in (RECORDED, PAGE, *draw(report, PICTURES)):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
