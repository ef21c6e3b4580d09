"""Keep what other packages say to their own users from ours."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_one_at_a_time = threading.RLock()  # filters and levels are global: two threads would mix them up


@contextmanager
def quiet(logger_name: str | None = None) -> Iterator[None]:
    """Ignore warnings, and what is logged under ``logger_name``, until the block ends."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if logger_name is None:
            yield
            return
        logger = logging.getLogger(logger_name)
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)
