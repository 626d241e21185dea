"""Write the generated parts of the docs anew: the reference of settings, the protocols' tables, the diagram, the timelines.

The tests of each say when it is needed.
"""

from __future__ import annotations

import re
from pathlib import Path

import timelines

from flare_actors.config.describe import markdown
from flare_actors.conversation.diagram import mermaid
from flare_actors.wire import schema
from flare_actors.wire.openai_realtime import docs as realtime

DOCS = Path(__file__).parents[1] / "docs"


def write(page: str, part: str, text: str) -> None:
    """Put ``text`` between a page's markers of that name."""
    path = DOCS / page
    marked = re.compile(rf"(<!-- {part}: begin [^\n]*-->\n).*(<!-- {part}: end -->)", re.DOTALL)
    path.write_text(marked.sub(lambda m: f"{m[1]}\n{text}\n{m[2]}", path.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {page}: {part}")


if __name__ == "__main__":
    write("configuration.md", "reference", markdown())
    for side in ("client", "server"):
        write("protocol.md", side, f"{schema.tables(side).strip()}\n")
    write("openai-realtime.md", "events", f"\n{realtime.tables()}\n")
    timelines.write()
    write("design.md", "diagram", f"```mermaid\n{mermaid()}```\n")
