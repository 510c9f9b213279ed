"""The clock's hand: runs analyses beside the API, one at a time, and fetches live sources when they are due."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from controlplane import handlers
from controlplane.handlers import Tools
from controlplane.ports import Analysis
from flowgate.errors import FlowgateError
from flowgate.ids import OrgId
from flowgate.sources import SourceId

log = logging.getLogger("controlplane.jobs")


TICK = 5.0
"""Seconds between two looks at what is due."""
SIDE_BY_SIDE = 2
"""Sources fetched at once; each opens up to eight connections of its own."""


class Jobs:
    """Analyses in a thread of their own; one that breaks is recorded as failed, with its reason. Fetches in another."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="analysis")
        self._fetching = Fetching(tools)

    def analyse(self, analysis: Analysis) -> None:
        self._pool.submit(self._run, analysis)

    def fetch(self, org: OrgId, source: SourceId) -> None:
        """Now, in the background; nothing more where it is being fetched already."""
        self._fetching.fetch(org, source)

    def start(self) -> None:
        """From now on, sources are fetched when they are due."""
        self._fetching.start()

    def close(self) -> None:
        """Ends fetches where they are, and waits for the analysis that runs."""
        self._fetching.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, analysis: Analysis) -> None:
        try:
            handlers.finish_analysis(self._tools, analysis)
        except (FlowgateError, ValueError) as error:
            handlers.fail_analysis(self._tools, analysis, str(error))
        except Exception:  # the thread's outermost loop: whatever broke must not leave the analysis running for ever
            log.exception("analysis %s broke", analysis.id)
            handlers.fail_analysis(self._tools, analysis, "something broke here; the log says what")


class Fetching:
    """Fetches on an event loop in a thread of its own: each source at most once at a time, and few sources side by side."""

    def __init__(self, tools: Tools, tick: float = TICK) -> None:
        self._tools, self._tick = tools, tick
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._running: dict[tuple[OrgId, SourceId], asyncio.Task[None]] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(SIDE_BY_SIDE)

    def start(self) -> None:
        self._call(self._start_ticking)

    def fetch(self, org: OrgId, source: SourceId) -> None:
        self._call(lambda: self._begin(org, source))

    def close(self) -> None:
        if self._thread is not None:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _call(self, what: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop.run_forever, name="fetching", daemon=True)
            self._thread.start()
        self._loop.call_soon_threadsafe(what)

    def _start_ticking(self) -> None:
        self._ticking = self._ticking or self._loop.create_task(self._ticks())

    def _begin(self, org: OrgId, source: SourceId) -> None:
        key = (org, source)
        if key not in self._running:
            self._running[key] = task = self._loop.create_task(self._fetch(org, source))
            task.add_done_callback(lambda _: self._running.pop(key, None))

    async def _ticks(self) -> None:
        while True:
            try:
                for source in await asyncio.to_thread(handlers.due_sources, self._tools, self._tools.now()):
                    self._begin(source.org, source.id)
            except FlowgateError as error:
                log.warning("what is due is not known: %s", error)
            except Exception:  # the clock must not stop
                log.exception("the look at what is due broke")
            await asyncio.sleep(self._tick)

    async def _fetch(self, org: OrgId, source: SourceId) -> None:
        try:
            async with self._slots:
                made = await handlers.fetch_source(self._tools, org, source)
            log.info("fetched %s: %d documents, %d not, %s", source, made.documents, len(made.failed), made.error or "whole")
        except FlowgateError as error:
            log.warning("fetch of %s: %s", source, error)
        except Exception:  # the task's outermost shell: what broke must not leave the source looking fresh
            log.exception("fetch of %s broke", source)
            await asyncio.to_thread(handlers.broken_fetch, self._tools, org, source, "something broke here; the log says what")

    async def _end(self) -> None:
        tasks = [t for t in (self._ticking, *self._running.values()) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_default_executor()
