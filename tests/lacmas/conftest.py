"""What the tests of swarms share."""

import sys
from pathlib import Path

# Programs under mpirun import what they run from here.
sys.path.insert(0, str(Path(__file__).parent))
