"""The HTTP API: a router a noun, pydantic here and only here (settings aside), problems as RFC 9457."""

from controlplane.api.build import build

__all__ = ["build"]
