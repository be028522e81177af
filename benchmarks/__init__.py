"""Benchmarks: what the workbench costs beside what people use today, as ratios within one run.

``python -m benchmarks`` prints one table. Every row names its rival, its target, and its floor: what the work
would cost if nothing but the unavoidable were done (decoding alone plus the model alone, bytes at the speed of
memory, floating-point operations at the speed of one matrix product). Never part of the timed tests.
"""
