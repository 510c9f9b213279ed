"""The clock's hand: runs analyses beside the API, one at a time."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

from controlplane import handlers
from controlplane.handlers import Tools
from controlplane.ports import Analysis
from flowgate.errors import FlowgateError

log = logging.getLogger("controlplane.jobs")


class Jobs:
    """Analyses in a thread of their own; one that breaks is recorded as failed, with its reason."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="analysis")

    def analyse(self, analysis: Analysis) -> None:
        self._pool.submit(self._run, analysis)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, analysis: Analysis) -> None:
        try:
            handlers.finish_analysis(self._tools, analysis)
        except (FlowgateError, ValueError) as error:
            handlers.fail_analysis(self._tools, analysis, str(error))
        except Exception:  # the thread's outermost loop: whatever broke must not leave the analysis running for ever
            log.exception("analysis %s broke", analysis.id)
            handlers.fail_analysis(self._tools, analysis, "something broke here; the log says what")
