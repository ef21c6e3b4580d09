"""What the command says on stderr: one line each, nothing twice, from rank 0 alone."""

from __future__ import annotations

import logging
import re
import sys

from bbopt.running import mpirun


def complain(what: str, message: str) -> None:
    """Print ``bbopt: what: message`` in one line."""
    if mpirun.rank() == 0:
        line = re.sub(r"\s*\n\s*", " ", message)
        print(f"bbopt: {what}: {line}", file=sys.stderr, flush=True)


class OneLineHandler(logging.Handler):
    """Prints log records; a message that was printed before is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[str, str]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, unless its message was printed before."""
        what, message = record.levelname.lower(), record.getMessage()
        if (what, message) not in self._said:
            self._said.add((what, message))
            complain(what, message)
