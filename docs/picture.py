"""The picture of the README: how four optimizers tune a real model.

bbopt bench demo --jobs 2 --out runs/demo
python docs/picture.py runs/demo docs/demo.svg
"""

import sys
from pathlib import Path

from bbopt.bench import plots
from bbopt.bench.comparison import Comparison
from bbopt.bench.runner import read_bench

PROBLEM = "cancer-boosting"


def draw(folder: Path, target: Path) -> None:
    """Write the curves of one problem of a bench as SVG."""
    comparison = Comparison.of(read_bench(folder).records)
    task = next(task for task in comparison.tasks if task.label == PROBLEM)
    svg, _ = plots.progress(task, plots.looks(comparison.methods), PROBLEM)
    target.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    draw(*(Path(argument) for argument in sys.argv[1:3]))
