"""Settings that every test shares."""

import os

# Before torch starts its threads: the tests run several processes, whose nets are too small to share work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("short", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("soak", deadline=None, max_examples=3000)
settings.load_profile("soak" if os.environ.get("WORKBENCH_SOAK") else "short")
