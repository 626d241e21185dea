"""Write the figures of docs/latency.md anew: ``python -m benchmarks.latency_page REPORT.json...``, from reports of ``--json``.

Nothing on that page is typed in: tables between its markers, and the pictures beside it, come from here.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.plots import draw
from flare_actors.talk import STAGES

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = DOCS / "latency.md"
_Metrics = Mapping[str, Mapping[str, Any]]


def endpointing(metrics: _Metrics) -> str:
    """False cuts and waits, arm by arm."""
    rows = ["| arm | setting | cut before the end | silence until the endpoint, median | 90 % within |"]
    rows.append("| --- | --- | --- | --- | --- |")
    for name, fields in metrics.items():
        arm, _, size = name.partition(".false_cut_rate@")
        if not size:
            continue
        wait = metrics[f"{arm}.wait_s@{size}"]
        setting = f"{size} s" if arm == "fixed" else f"{size} x the defaults"
        cut = f"{100 * fields['median']:.1f} % of {fields['n']}"
        rows.append(f"| {arm} | {setting} | {cut} | {1000 * wait['median']:.0f} ms | {1000 * wait['p90']:.0f} ms |")
    if "smart-turn.cpu_s" in metrics:
        cost = metrics["smart-turn.cpu_s"]
        rows += ["", f"smart-turn takes {1000 * cost['median']:.0f} ms of a core for a pause (median of {cost['n']})."]
    rows += [
        "",
        "By voice, with the defaults:",
        "",
        "| voice | utterances | fixed | adaptive |",
        "| --- | --- | --- | --- |",
    ]
    for name, fields in metrics.items():
        prefix, _, voice = name.partition("fixed.false_cut_rate ")
        if voice and not prefix:
            adaptive = metrics[f"adaptive.false_cut_rate {voice}"]["median"]
            rows.append(f"| {voice} | {fields['n']} | {100 * fields['median']:.0f} % | {100 * adaptive:.0f} % |")
    return "\n".join(rows)


def voice_to_voice(metrics: _Metrics) -> str:
    """The waterfall of both arms, and what else was measured with it."""
    rows = ["| stage | fixed p50 | fixed p90 | adaptive p50 | adaptive p90 |", "| --- | --- | --- | --- | --- |"]
    for stage in (*STAGES, "total"):
        cells = []
        for arm in ("fixed", "adaptive"):
            fields = metrics[f"{arm}.{stage}_s"]
            cells += [f"{1000 * fields['median']:.0f} ms", f"{1000 * fields['p90']:.0f} ms"]
        rows.append(f"| {stage.replace('_', ' ')} | {' | '.join(cells)} |")
    n = metrics["fixed.total_s"]["n"]
    rows += ["", f"{n} utterances in the fixed arm, {metrics['adaptive.total_s']['n']} in the adaptive one."]
    if "barge_in_silence_s" in metrics:
        fields = metrics["barge_in_silence_s"]
        rows.append(
            f"Interrupted, the agent was silent {1000 * fields['median']:.0f} ms after the onset of speech in the file "
            f"(median of {fields['n']}; 90 % within {1000 * fields['p90']:.0f} ms)."
        )
    return "\n".join(rows)


PARTS: Final = {"endpointing": endpointing, "voice_to_voice": voice_to_voice}


def main() -> None:
    """Put the figures of the given reports on the page; parts that they do not have stay as they are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency_page", description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT")
    for path in parser.parse_args().reports:
        report = json.loads(path.read_text(encoding="utf-8"))
        wanted = {name: found for name, found in report["benchmarks"].items() if name in PARTS}
        draw({**report, "benchmarks": wanted}, DOCS / "images")
        machine = report["machine"]
        place = f"{machine['processor']}, {machine['cores']} cores, load {machine['load_1min']} at the start"
        for name, found in wanted.items():
            trust = "".join(
                f"\n\n**Not to be trusted: {why}.**" for why in report["noise"].get(name, {}).get("why", ())
            )
            text = f"{PARTS[name](found)}\n\n({place}.){trust}"
            marked = re.compile(rf"(<!-- {name}: begin [^\n]*-->\n).*(<!-- {name}: end -->)", re.DOTALL)
            page = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(marked.sub(lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page), encoding="utf-8")  # noqa: B023
            print(f"wrote {PAGE}: {name}")


if __name__ == "__main__":
    main()
