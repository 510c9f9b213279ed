"""The kernel: Flowgate's words and ports.

What lives here: identifiers, telemetry, advice, money, fleet, the ports between rooms and the error tree. What may not: anything outside the
standard library, any I/O, any SQL, YAML or protobuf. Every other room imports this one; it imports none.
"""
