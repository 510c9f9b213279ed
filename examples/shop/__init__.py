"""A small shop that talks OTLP: six services and one legacy program, seeded, with planted waste and planted traps."""
