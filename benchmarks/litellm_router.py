"""``litellm.Router`` in a process and a virtual environment of its own, for ``benchmarks.generation_overhead``."""

import asyncio
import json
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from benchmarks.calls import Round, Run
from domain.prompt import Prompt
from local.process import SOURCE, child_environment

PEER: Final = Path(__file__).with_name("litellm_peer")
ENVIRONMENTS: Final = SOURCE / ".huntaze"
"""Where virtual environments are kept between runs; not under version control."""


@asynccontextmanager
async def litellm_router(
    url: str, model: str, prompts: Sequence[Prompt], directory: Path, *, redis_url: str = ""
) -> AsyncIterator[Run]:
    """Measured by the peer itself, in its process; with ``redis_url`` cooldowns and a budget are shared there."""
    interpreter = await asyncio.to_thread(peer_interpreter)
    questions = directory / "questions.json"
    asked = {
        "schemaName": prompts[0].schema_name,
        "schema": prompts[0].json_schema,
        "maxTokens": prompts[0].max_output_tokens,
        "prompts": [(prompt.system, prompt.user) for prompt in prompts],
    }
    await asyncio.to_thread(questions.write_text, json.dumps(asked))
    peer = await asyncio.create_subprocess_exec(
        str(interpreter),
        str(PEER / "run.py"),
        url,
        model,
        str(questions),
        *((redis_url,) if redis_url else ()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=16 * 1024 * 1024,
        env=child_environment({"LITELLM_LOCAL_MODEL_COST_MAP": "True"}),
    )
    assert peer.stdin is not None
    assert peer.stdout is not None
    commands, answers = peer.stdin, peer.stdout

    async def answer() -> dict[str, Any]:
        line = await answers.readline()
        if not line:
            raise SystemExit(f"the litellm peer ended with {await peer.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    async def run(calls: int, in_flight: int) -> Round:
        commands.write(json.dumps({"calls": calls, "inFlight": in_flight}).encode() + b"\n")
        found = await answer()
        return Round(found["seconds"], found["cpuSeconds"], found["each"])

    try:
        versions = await answer()
        print("peer: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
        yield run
    finally:
        if peer.returncode is None:
            peer.kill()
        await peer.wait()


def peer_interpreter() -> Path:
    """The Python of the peer's virtual environment, which is made from its pinned requirements if it is not there."""
    requirements = PEER / "requirements.txt"
    digest = sha256(requirements.read_bytes()).hexdigest()[:12]
    environment = ENVIRONMENTS / f"litellm-peer-{sys.version_info.major}.{sys.version_info.minor}-{digest}"
    interpreter = environment / "bin" / "python"
    complete = environment / "complete"
    if not complete.exists():
        print(f"installing {', '.join(requirements.read_text().split())} into {environment} (once, about a minute)")
        venv.create(environment, clear=True, with_pip=True)
        install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pip = subprocess.run(
            [*install, "--requirement", str(requirements)], check=False, capture_output=True, text=True
        )
        if pip.returncode:
            raise SystemExit(f"the peer can't be installed:\n{pip.stderr}")
        complete.touch()
    return interpreter
