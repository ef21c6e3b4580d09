"""What all tests share."""

import os

from hypothesis import settings

# Tests run side by side: more than one BLAS thread each, and they wait for each other. The
# libraries read this when numpy is loaded, which is later.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes depends on what else the machine does; tests are never timed.
settings.register_profile("bbopt", deadline=None)
settings.load_profile("bbopt")
