"""Write the generated part of docs/configuration.md anew; tests/config/test_config_docs.py says when it is needed."""

from __future__ import annotations

import re
from pathlib import Path

from flare_actors.config.describe import markdown

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
PART = re.compile(r"(<!-- reference: begin [^\n]*-->\n).*(<!-- reference: end -->)", re.DOTALL)

if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(PART.sub(lambda part: f"{part[1]}\n{markdown()}\n{part[2]}", page), encoding="utf-8")
    print(f"wrote {PAGE.name}")
