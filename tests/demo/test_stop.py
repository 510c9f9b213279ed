"""Ctrl-C stops the demo even when Python drops the exception that its handler raised."""

from __future__ import annotations

import contextlib
import io
import signal

import pytest
from rich.console import Console

from controlplane.demo.run import Interrupted, Steps, Stop


def test_a_signal_interrupts_at_once() -> None:
    stop = Stop()
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("kind", ["step", "waiting"])
def test_a_dropped_interrupt_is_raised_at_the_next_step(kind: str) -> None:
    steps = Steps(Console(file=io.StringIO()))
    with contextlib.suppress(Interrupted):
        steps.stop()
    opened = steps.step("a", "a") if kind == "step" else steps.waiting("a", "a", 5.0)
    with pytest.raises(Interrupted), opened:
        pass


def test_without_a_signal_steps_go_on() -> None:
    steps = Steps(Console(file=io.StringIO()))
    with steps.step("a", "a"):
        pass
    assert "a" in steps.seconds
