"""Benchmarks: one file each, run from a checkout by `flowgate bench NAME`. Nothing imports this folder."""
