"""Who listens on a port already, as far as this machine lets us see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
_LISTEN = "0A"  # TCP_LISTEN in the kernel's include/net/tcp_states.h


def owner(port: int, proc: Path = PROC) -> str | None:
    """The command that listens on a TCP port; None when there is none, or when it is not ours to see."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    for fd in proc.glob("[0-9]*/fd/*") if sockets else ():
        try:
            if str(fd.readlink()) in sockets:
                return (fd.parents[1] / "comm").read_text().strip()
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
    return None


def _inodes(port: int, proc: Path) -> Iterator[str]:
    """Inodes of the listening sockets of a port: fields 1 (local address), 3 (state) and 9 of proc(5)'s net/tcp."""
    for table in (proc / "net" / "tcp", proc / "net" / "tcp6"):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]
