"""The code completion model that `askdocs up` runs beside its engine."""

import re
from dataclasses import dataclass
from pathlib import Path

import httpx

from askdocs.models import model
from askdocs.supervision import checks
from askdocs.supervision.engine import default_threads
from askdocs.supervision.supervisor import Say, Service
from askdocs.supervision.threads import Threads
from core.errors import AskdocsError
from gateway.upstream.engine import Engine
from gateway.upstream.engines import llamacpp
from gateway.upstream.fim import Fim, not_supported

NAME = "autocomplete"
CONTEXT = 4096  # tokens around the cursor: editors send about 1,000
START = 180.0  # seconds


@dataclass(frozen=True)
class CodeModel:
    """A fill-in-the-middle model."""

    name: str
    """Its name in the API."""
    url: str
    """Base URL with /v1."""
    service: Service | None
    """The local process that serves it; None if it runs elsewhere."""

    async def check(self) -> None:
        """Raises AskdocsError: it does not answer, or cannot fill in the middle."""
        engine = Engine(self.url)
        try:
            if not await Fim(engine).is_able():
                raise AskdocsError(f"--autocomplete: {not_supported(self.name)}")
        except httpx.HTTPError as error:
            raise AskdocsError(f"--autocomplete: {self.url} fails to answer ({error!r})") from None
        finally:
            await engine.close()


async def find(wanted: str, folder: Path, threads: Threads, say: Say) -> CodeModel:
    """The code model named by `--autocomplete`. Raises AskdocsError: it does not exist.

    Args:
        wanted: a URL, a GGUF file, or a hub id.
        folder: folder for its log.
    """
    if wanted.startswith(("http://", "https://")):
        url = wanted.rstrip("/")
        engine = Engine(url)
        try:
            served = (await engine.model()).id
        finally:
            await engine.close()
        return CodeModel(called(served), url, None)
    chosen = await threads.run(model.find, wanted, "llama.cpp", lambda text: say(NAME, text))
    port = checks.free_port()
    url = f"http://127.0.0.1:{port}/v1"
    name = called(chosen.name)
    launch = llamacpp.launch(
        Path(chosen.source),
        port=port,
        served_name=name,
        context=CONTEXT,
        threads=default_threads(),
        parallel=2,
    )
    probe = Engine(url)
    say(NAME, f"starting llama.cpp with {chosen.name}")
    service = Service(
        name=NAME,
        argv=launch.argv,
        env=launch.env,
        log=folder / f"{NAME}.log",
        ready=probe.is_ready,
        timeout=START,
    )
    return CodeModel(name, url, service)


def called(name: str) -> str:
    """Its API name, which contains the model's name: Continue derives the special tokens from
    it."""
    plain = re.sub(r"[^a-z0-9.-]+", "-", name.rpartition("/")[2].lower()).strip("-.")
    return f"{NAME}-{plain[:80]}"
