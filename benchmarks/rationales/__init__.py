"""Rationale losses against each other, on data where a shortcut is known: ``python -m benchmarks.rationales``."""
