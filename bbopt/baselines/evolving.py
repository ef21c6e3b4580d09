"""The processes in which OpenEvolve runs; :mod:`bbopt.baselines.evolution` talks with them.

They evaluate nothing and call no model: both is asked for over a socket. What is random there
depends on the seed of the run alone: strings hash the same in every nursery, identifiers are
drawn, and one worker takes one request after the other.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bbopt.errors import require

FOREVER = 10**9
"""Iterations, intervals between them, and seconds that no run comes to."""
MAX_ERRORS = 100
"""Errors that a run may log in a row without asking for anything: it would for ever."""

CONFIG = {
    "max_iterations": FOREVER,  # it ends when it is asked no more
    "checkpoint_interval": FOREVER,
    "log_level": "ERROR",
    "diff_based_evolution": False,
    "file_suffix": ".txt",
    "max_code_length": 10**7,  # the space has limits of its own
    "evaluator": {
        "cascade_evaluation": False,
        "parallel_evaluations": 1,  # worker processes
        "timeout": FOREVER,  # who evaluates takes the time that it takes
    },
    "database": {"artifacts_base_path": "artifacts", "log_prompts": False},
    "prompt": {"template_dir": "templates"},
}
"""What every run has in common, as far as it is not OpenEvolve's default."""


class _Asking(logging.Handler):
    """The socket to those who evaluate and complete; the run ends where it is closed.

    As a handler of the log it ends a run that goes round in errors.
    """

    def __init__(self, line: socket.socket) -> None:
        super().__init__(logging.ERROR)
        self._stream = line.makefile("rw", encoding="utf-8", newline="\n")
        self._n_errors = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count an error."""
        self._n_errors += 1
        if self._n_errors > MAX_ERRORS:
            print(self.format(record), flush=True)
            os.killpg(0, signal.SIGKILL)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Wait for the answer to a request."""
        self._n_errors = 0
        with suppress(OSError):
            self._stream.write(json.dumps(request) + "\n")
            self._stream.flush()
            if line := self._stream.readline():
                answer: dict[str, Any] = json.loads(line)
                return answer
        shutil.rmtree(os.getcwd(), ignore_errors=True)  # in case that nobody else is left
        os.killpg(0, signal.SIGKILL)
        raise SystemExit


_asking: _Asking | None = None  # of the run that this process and its forks are


def evaluate(program_path: str) -> Any:
    """What OpenEvolve's evaluator calls: ask for the score of the program in a file."""
    assert _asking is not None
    answer = _asking.ask({"evaluate": Path(program_path).read_bytes().decode()})
    return _imported("openevolve.evaluation_result").EvaluationResult(
        metrics={"combined_score": answer["score"]},
        artifacts={"feedback": answer["feedback"]} if answer["feedback"] else {},
    )


class _Model:
    """What OpenEvolve takes for a language model."""

    def __init__(self, config: Any) -> None:
        self.model = config.name

    async def generate_with_context(
        self, system_message: str, messages: list[dict[str, str]], **options: Any
    ) -> str:
        assert _asking is not None
        answer = _asking.ask(
            {"complete": [{"role": "system", "content": system_message}, *messages]}
        )
        if "error" in answer:
            raise RuntimeError(answer["error"])
        text: str = answer["text"]
        return text


def _evolve(line: socket.socket) -> None:
    """Run OpenEvolve in the working directory until the socket closes."""
    global _asking  # the evaluator and the model are made by OpenEvolve
    _asking = _Asking(line)
    logging.getLogger().addHandler(_asking)
    openevolve, configs = _imported("openevolve"), _imported("openevolve.config")
    config, given = configs.Config(), json.loads(Path("config.json").read_bytes())
    _set(config, CONFIG)
    _set(config, given)
    _draw_identifiers(config.random_seed)
    model = configs.LLMModelConfig(name="bbopt", init_client=_Model, random_seed=config.random_seed)
    config.llm.models, config.llm.evaluator_models = [model], [model]
    openevolve.run_evolution(
        "program.txt", "evaluator.py", config, output_dir="output", cleanup=False
    )


def _set(config: Any, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            _set(getattr(config, name), value)
        else:
            setattr(config, name, value)


def _draw_identifiers(seed: int) -> None:
    """Let ``uuid4`` draw, in each process from a stream of its own."""
    rng = random.Random(f"{seed} controller")
    os.register_at_fork(after_in_child=lambda: rng.seed(f"{seed} worker"))
    uuid.uuid4 = lambda: uuid.UUID(int=rng.getrandbits(128), version=4)


def _imported(module: str) -> Any:
    return require(module, extra="peers", needed_by="optimizer 'openevolve'")


def _tend(orders: socket.socket) -> None:
    """Fork a run for every order (its folder and its socket), until nobody can give one."""
    _imported("openevolve")  # for those that are forked
    multiprocessing.set_start_method("fork")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the runs
    while True:
        folder, lines, _, _ = socket.recv_fds(orders, 4096, 1)
        if not folder:
            return
        if os.fork() == 0:
            orders.close()
            os.setsid()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.chdir(folder)
            tempfile.tempdir = os.getcwd()
            output = os.open("output.txt", os.O_CREAT | os.O_WRONLY)
            os.dup2(output, 1)
            os.dup2(output, 2)
            _evolve(socket.socket(fileno=lines[0]))
            return
        os.close(lines[0])
        orders.send(b".")


if __name__ == "__main__":
    from bbopt.baselines import evolving  # the module that the evaluator's file imports

    evolving._tend(socket.socket(fileno=int(sys.argv[1])))
