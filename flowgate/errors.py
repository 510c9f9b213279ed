"""Errors say whose fault it is.

FlowgateError
├── Refused          theirs: the request, token, document or config is wrong; doing it again does not help
│   ├── Unauthorized     no or a wrong credential
│   ├── NotFound         names something that does not exist (or belongs to another org)
│   ├── Conflict         names something that exists already, or has moved on
│   └── Invalid          carries the places that are wrong
├── Busy             later: try again after `retry_after` seconds
├── Unreachable      a peer or port cannot be had
└── Broken           ours, or the machine's: a full disk, an unwritable folder, a missing toolchain
"""

from __future__ import annotations

from dataclasses import dataclass

EXIT_DONE = 0
EXIT_NO = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_UNREACHABLE = 4
EXIT_BROKEN = 5
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where: a path such as `processors/filter/0`."""

    path: str
    message: str


class FlowgateError(Exception):
    """Root of everything Flowgate raises on purpose; `exit_code` is the one of CONTRACTS."""

    exit_code = EXIT_BROKEN


class Refused(FlowgateError):
    """Theirs: the same request will be refused again."""

    exit_code = EXIT_REFUSED


class Unauthorized(Refused):
    """No credential, or one that is not known here."""


class NotFound(Refused):
    """The thing named does not exist in this org."""


class Conflict(Refused):
    """The thing named exists already, or is in a state that forbids the step."""


class Invalid(Refused):
    """Bad input; `problems` says where."""

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class Busy(FlowgateError):
    """Full for now; `retry_after` in seconds."""

    exit_code = EXIT_UNREACHABLE

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(FlowgateError):
    """A peer does not answer, or a port is taken."""

    exit_code = EXIT_UNREACHABLE


class Broken(FlowgateError):
    """Ours or the machine's: nothing the caller sent was wrong."""
