"""The HTTP server: uvicorn with our protocol limits, in one process or several.

    serve("gateway.runtime.app:create", settings)

`create` takes no arguments and returns the ASGI app; every worker calls it. If it raises
AskdocsError, the server stops, even with several workers: a worker that cannot start is not
restarted forever.

SIGTERM lets running answers finish. SIGHUP replaces several workers one by one, with the current
code and settings, without failing requests. A single worker ignores SIGHUP and logs that.
"""

import asyncio
import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import cast
from weakref import WeakKeyDictionary

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from core.errors import AskdocsError
from core.process import prepare
from core.settings import home, load
from core.tasks import Failures, Tasks
from gateway.runtime.protocol import Edge
from gateway.settings import GatewaySettings
from gateway.upstream.litellm import Proxies

KEEP_ALIVE_S = 75  # longer than the pools of clients and proxies keep an idle connection
# Time for which a replaced worker keeps idle connections open. The pools of httpx and OpenAI's SDKs
# close theirs after at most 5 seconds; closing one earlier could collide with a new request.
QUIET_S = 6.0
BACKLOG = 2048
# Allocations per collection of the youngest generation, and collections until older ones are
# included. With Python's defaults, 700 and 10, collections took a tenth of the time under load.
GC = (20_000, 20, 20)

WORKER = "worker"  # the name of the task that maintains the workers

_spawn = multiprocessing.get_context("spawn")

Renew = Callable[[Connection], None]
"""Runs in a separate process on SIGHUP, and sends the new workers' environment. If it exits with a
code other than 0, the old workers stay."""


def serve(factory: str, settings: GatewaySettings, renew: Renew | None = None) -> None:
    """Serve until SIGINT or SIGTERM. Returns after the last answer, or after `settings.drain`
    seconds. LiteLLM runs meanwhile, if a model needs it.

    Raises:
        AskdocsError: the port is taken, or the app failed to start.
    """
    config = uvicorn.Config(
        factory,
        factory=True,
        loop="uvloop",
        http=Edge,
        ws="none",
        access_log=False,
        log_level="error",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.drain,
    )
    failures = Failures(home(), "gateway")
    tasks = Tasks(failures.failed, failures.started)
    with (
        _listen(settings.host, settings.port) as listener,
        contextlib.closing(Proxies(tasks)) as proxies,
    ):
        proxies.follow(settings)
        if settings.workers == 1:
            signal.signal(signal.SIGHUP, _refuse_hangup)
            try:
                _Server(config).run([listener])
            except SystemExit:
                raise AskdocsError("the gateway could not start; its error is above") from None
            except KeyboardInterrupt:
                pass  # uvicorn has stopped already, and raises the signal again
        else:
            _Workers(config, listener, settings.workers, renew, tasks, proxies).run()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        # create_server adds the address to the message; an unknown host name has no error number.
        known = error.errno and not isinstance(error, socket.gaierror)
        reason = os.strerror(error.errno or 0) if known else error.strerror
        raise AskdocsError(
            f"{host}:{port}: cannot listen there ({reason}); stop the process that uses the port, "
            "or set ASKDOCS_GATEWAY_PORT to another one"
        ) from None


class _Server(uvicorn.Server):
    """A server whose garbage collector ignores the objects that exist after startup."""

    def __init__(self, config: uvicorn.Config, ready: Connection | None = None) -> None:
        """`ready` is notified when the server listens."""
        super().__init__(config)
        self._ready = ready
        self._retiring = False

    def retire(self, *_: object) -> None:
        """Stop because a new worker has taken over; open connections included."""
        self._retiring = self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Modules and models are hundreds of thousands of permanent objects. Scanning them takes a
        # part of the start, and later blocks every stream at each full collection.
        gc.disable()
        prepare()
        try:
            await super().startup(sockets)
        finally:
            gc.enable()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC)
        if self._ready is not None and self.started:
            self._ready.send(True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._retiring:
            for server in self.servers:
                server.close()
            for listener in sockets or []:
                listener.close()
            connections = self.server_state.connections
            for connection in list(connections):
                cast(Edge, connection).retire()
            deadline = time.monotonic() + QUIET_S
            while connections and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await super().shutdown(sockets)


class _Workers:
    """Worker processes on one listening socket. Dead workers are replaced after a growing pause.

    uvicorn's own supervisor would restart a worker forever if its app cannot be created, exit with
    code 0 if a worker could not start, and leave the workers running if it is killed.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        count: int,
        renew: Renew | None,
        tasks: Tasks,
        proxies: Proxies | None = None,
    ) -> None:
        self._config = config
        self._listener = listener
        self._count = count
        self._renew = renew
        self._tasks = tasks
        self.proxies = proxies
        self._began: WeakKeyDictionary[SpawnProcess, float] = WeakKeyDictionary()
        self._due: list[float] = []  # when to replace dead workers
        self._stopping = False
        self._asked = False  # for a renewal, by SIGHUP
        self._renewal: _Renewal | None = None

    def run(self) -> None:
        """Run until a signal. Raises AskdocsError if a worker could not start."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._ask)
        workers = [self.start() for _ in range(self._count)]
        failed = False
        self._tasks.started(WORKER)
        while not self._stopping:
            others = self._renewal.processes if self._renewal else []
            sentinels = [process.sentinel for process in (*workers, *others)]
            multiprocessing.connection.wait(sentinels, timeout=0.2)
            for worker in [worker for worker in workers if worker.exitcode is not None]:
                failed = failed or worker.exitcode == STARTUP_FAILURE
                if failed or self._stopping:
                    self._stopping = True
                else:
                    workers.remove(worker)
                    died = AskdocsError(f"process {worker.pid} ended, exit code {worker.exitcode}")
                    self._replace_later(died, self._began.pop(worker, 0.0))
            self._replace(workers)
            if self._asked and self._renewal is None:
                self._asked = False
                self._renewal = _Renewal(self, workers, self._renew)
            if self._renewal is not None and self._renewal.is_over():
                self._renewal = None
        others = self._renewal.processes if self._renewal else []
        for worker in (*workers, *others):
            worker.terminate()
        for worker in (*workers, *others):
            worker.join()
        if failed:
            raise AskdocsError("a worker could not start; its error is above")

    def start(self, ready: Connection | None = None) -> SpawnProcess:
        worker = _spawn.Process(target=_work, args=(self._config, self._listener, ready))
        worker.start()
        self._began[worker] = time.monotonic()
        return worker

    def _replace_later(self, error: Exception, began: float) -> None:
        self._due.append(time.monotonic() + self._tasks.failed(WORKER, error, began))

    def _replace(self, workers: list[SpawnProcess]) -> None:
        """Replace dead workers that are due."""
        now = time.monotonic()
        due, self._due = self._due, [moment for moment in self._due if moment > now]
        for _ in range(len(due) - len(self._due)):
            try:
                workers.append(self.start())
            except OSError as error:  # out of memory or processes
                self._replace_later(error, now)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _ask(self, *_: object) -> None:
        self._asked = True


class _Renewal:
    """Replaces all workers, one after the other, with at most one extra process.

    First, a process prepares the new workers with the current code and settings. If it fails, or a
    new worker does, the old workers stay.
    """

    def __init__(
        self, supervisor: _Workers, workers: list[SpawnProcess], renew: Renew | None
    ) -> None:
        self._supervisor = supervisor
        self._workers = workers  # the supervisor's own list
        self._old = list(workers)
        self._fresh: SpawnProcess | None = None
        self._leaving: SpawnProcess | None = None
        self._preparing: SpawnProcess | None = None
        self._messages: Connection | None = None
        self._began = time.monotonic()
        self._before = {k: v for k, v in os.environ.items() if k.startswith("ASKDOCS_")}
        self._renew = renew

    @property
    def processes(self) -> list[SpawnProcess]:
        """Its processes that are not (or no longer) in the list of workers."""
        return [
            process
            for process in (self._preparing, self._fresh, self._leaving)
            if process is not None
        ]

    def is_over(self) -> bool:
        """Take the next step if it is due. Does not wait."""
        try:
            return self._step()
        except OSError as error:  # out of memory or processes
            _say(str(error))
            return not self._failed("a process could not be started")

    def _step(self) -> bool:
        """Like `is_over`. Raises OSError: no process could be started."""
        if self._renew is not None:
            self._messages, sender = _spawn.Pipe(duplex=False)
            preparing = _spawn.Process(target=_prepare, args=(self._renew, sender))
            preparing.start()
            self._preparing, self._renew = preparing, None
            sender.close()
        if self._preparing is not None:
            return not self._prepared()
        if self._fresh is not None:
            return not self._started()
        if self._leaving is not None:
            if self._leaving.exitcode is None:
                return False
            self._leaving = None
        while self._old and self._old[0] not in self._workers:
            del self._old[0]  # it died, and has been replaced already
        if not self._old:
            if self._supervisor.proxies:
                self._supervisor.proxies.settle()
            took = time.monotonic() - self._began
            _say(f"replaced all {len(self._workers)} workers in {took:.1f} s")
            return True
        self._messages, sender = _spawn.Pipe(duplex=False)
        self._fresh = self._supervisor.start(sender)
        sender.close()
        return False

    def _prepared(self) -> bool:
        """Is the renewal continuing? False: it has failed."""
        preparing, connection = self._preparing, self._messages
        assert preparing is not None
        assert connection is not None
        if connection.poll():
            with contextlib.suppress(EOFError):
                _take(connection.recv())
                if self._supervisor.proxies:
                    self._supervisor.proxies.follow(load(GatewaySettings))
                self._preparing = None
            preparing.join()
        if self._preparing is None or preparing.exitcode is None:
            return True
        return self._failed("the new settings or their preparation failed")

    def _started(self) -> bool:
        """Like `_prepared`."""
        fresh, connection = self._fresh, self._messages
        assert fresh is not None
        assert connection is not None
        if connection.poll():
            with contextlib.suppress(EOFError):
                connection.recv()
                self._fresh = None
                self._workers.append(fresh)
                # The old worker may have died meanwhile; then it has been replaced already.
                old = self._old.pop(0)
                self._leaving = old if old in self._workers else fresh
                self._workers.remove(self._leaving)
                assert self._leaving.pid is not None
                os.kill(self._leaving.pid, signal.SIGUSR1)
                return True
            fresh.join()
        if fresh.exitcode is None:
            return True
        return self._failed("a new worker could not start")

    def _failed(self, why: str) -> bool:
        _take(self._before)
        if self._supervisor.proxies:
            self._supervisor.proxies.go_back()
        _say(f"{why}; its error is above. The remaining workers continue unchanged")
        return False


def _refuse_hangup(*_: object) -> None:
    _say(
        "SIGHUP is ignored: a single worker cannot be replaced without failed requests; set "
        "ASKDOCS_GATEWAY_WORKERS=2 and restart the gateway"
    )


def _say(text: str) -> None:
    # Not sys.stderr, which a signal handler may not use during another write. After SIGHUP the
    # terminal may be gone.
    with contextlib.suppress(OSError):
        os.write(2, f"gateway: {text}\n".encode())


def _take(fresh: dict[str, str]) -> None:
    """Replace the settings in the environment of processes that are started from now on."""
    for name in [name for name in os.environ if name.startswith("ASKDOCS_")]:
        if name not in fresh:
            del os.environ[name]
    os.environ.update(fresh)


def _prepare(renew: Renew, answer: Connection) -> None:
    _ignore_hangup()
    try:
        renew(answer)
    except AskdocsError as error:
        _say(str(error))
        sys.exit(STARTUP_FAILURE)


def _ignore_hangup() -> None:
    # A closing terminal sends it to all processes; only the supervisor handles it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _work(config: uvicorn.Config, listener: socket.socket, ready: Connection | None) -> None:
    """Run one worker; exits with `STARTUP_FAILURE` if it could not start."""
    config.configure_logging()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    server = _Server(config, ready)
    _ignore_hangup()
    signal.signal(signal.SIGUSR1, server.retire)
    try:
        server.run([listener])
    except KeyboardInterrupt:
        pass
    except AskdocsError as error:
        _say(str(error))
        sys.exit(STARTUP_FAILURE)
    except Exception:
        if server.started:
            raise
        traceback.print_exc()
        sys.exit(STARTUP_FAILURE)


def _end_with_parent() -> None:
    """Do not let a worker keep the port after its parent is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
