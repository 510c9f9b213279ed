"""Advice in, fleet out: the one room that knows other rooms. API, command line, rendering, checks, rollout, and the wiring.

May not: parse OTLP, hold protobuf, decide inside a route.
"""
