"""The demo: the whole loop on real processes, driven through the public API, judging itself."""

from controlplane.demo.run import main

__all__ = ["main"]
