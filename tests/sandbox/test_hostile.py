"""Programs that try to get out, to last, or to lie; at each level that works here.

``bubblewrap`` and ``landlock`` keep all of it out. ``limits`` stops what uses up time, memory
and output, and lies; it does not stop reading, writing and sending, nor, as root, processes
without end: its tests of these are skipped, and its documentation says so.
"""

import json
import math
import os
import socket
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from bbopt.sandbox import ProgramError, Sandbox, SandboxError
from bbopt.sandbox import levels as sandbox_levels

MEGABYTE = 2**20


def attempt(level, source, *arguments, **limits):
    with Sandbox(textwrap.dedent(source), level=level, **{"seconds": 20.0, **limits}) as box:
        return box.call("f", *arguments)


# --- getting out ---------------------------------------------------------------------------


def test_a_file_outside_the_scratch_folder_cannot_be_read(confined, tmp_path):
    (tmp_path / "answers").write_text("42")
    tmp_path.chmod(0o777)
    source = """
        import os
        def f(path): return open(path).read()
        def list(path): return os.listdir(path)
        def link(path):
            os.symlink(path, "link")
            return open("link").read()
    """
    refused = pytest.raises(ProgramError, match=r"FileNotFoundError|PermissionError")
    with Sandbox(textwrap.dedent(source), level=confined) as box:
        for path in (str(tmp_path / "answers"), __file__, "/etc/passwd", "/root/.bashrc"):
            with refused:
                box.call("f", path)
        with refused:
            box.call("link", str(tmp_path / "answers"))
        with refused:
            box.call("list", str(tmp_path))


def test_the_answers_file_cannot_be_written(confined, tmp_path):
    answers = tmp_path / "answers"
    answers.write_text("42")
    for path in (answers, tmp_path):
        path.chmod(0o777)
    before = answers.stat()
    source = """
        import os
        def write(path): open(path, "w").write("0")
        def add(path): open(path + ".new", "w")
        def truncate(path): os.truncate(path, 0)
        def remove(path): os.remove(path)
        def rename(path): os.rename(path, "mine")
        def chmod(path): os.chmod(path, 0)
        def utime(path): os.utime(path, (0, 0))
        def mkdir(path): os.mkdir(path + ".new")
        def link(path): os.link(path, "mine")
    """
    deeds = ("write", "add", "truncate", "remove", "rename", "chmod", "utime", "mkdir", "link")
    with Sandbox(textwrap.dedent(source), level=confined) as box:
        for deed in deeds:
            with pytest.raises(ProgramError, match=r"OSError|FileNotFoundError|PermissionError"):
                box.call(deed, str(answers))
    assert answers.read_text() == "42"
    assert [p.name for p in tmp_path.iterdir()] == ["answers"]
    assert (answers.stat().st_mode, answers.stat().st_mtime) == (before.st_mode, before.st_mtime)


def test_the_scratch_folder_can_be_used_and_is_gone_afterwards(level):
    source = """
        import os, tempfile
        def f():
            with tempfile.NamedTemporaryFile("w+") as file:
                file.write("x")
            open("kept", "w").write("here")
            return os.getcwd(), open("kept").read()
    """
    folder, text = attempt(level, source)
    assert text == "here"
    assert not os.path.exists(folder)


def test_no_socket_reaches_anything(confined):
    source = """
        import socket
        def f(port):
            with socket.create_connection(("127.0.0.1", port), 2) as s:
                s.sendall(b"secret")
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        with pytest.raises(ProgramError, match=r"(OS|Permission|ConnectionRefused)Error"):
            attempt(confined, source, server.getsockname()[1])
        with pytest.raises(BlockingIOError):
            server.accept()


def test_processes_cannot_be_started_without_end(level):
    if level == "limits" and os.geteuid() == 0:
        pytest.skip("the level 'limits' cannot stop this as root, as its documentation says")
    source = """
        import os, subprocess
        def f(how):
            while True:
                if how == "fork":
                    os.fork()
                else:
                    subprocess.Popen(["/usr/bin/true"])
    """
    for how in ("fork", "spawn"):
        with pytest.raises(ProgramError, match=r"(BlockingIO|Permission)Error"):
            attempt(level, source, how)


def test_our_own_process_cannot_be_ended(confined):
    source = "import os, signal\ndef f(pid): os.kill(pid, signal.SIGKILL)"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as victim:
        with pytest.raises(ProgramError, match=r"ProcessLookupError|PermissionError"):
            attempt(confined, source, victim.pid)
        assert victim.poll() is None
        victim.communicate()
    assert victim.returncode != -9


def test_the_environment_holds_nothing_of_ours(level, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "secret")
    names = attempt(level, "import os\ndef f(): return dict(os.environ)")
    assert "secret" not in json.dumps(names)
    assert not any("KEY" in name for name in names)


def test_no_file_of_ours_is_open_in_it(level, tmp_path):
    source = """
        import os
        def f():
            found = []
            for number in range(64):
                try:
                    found.append(os.readlink(f"/proc/self/fd/{number}"))
                except OSError:
                    pass
            return found
    """
    with open(tmp_path / "ours", "w") as ours:
        os.set_inheritable(ours.fileno(), True)
        found = attempt(level, source)
    assert found[:3] == ["/dev/null"] * 3
    rest = [name.split(":")[0] for name in found[3:]]
    assert rest.count("pipe") == 2
    assert set(rest) <= {"pipe", "anon_inode"}  # the latter says what landlock allows


# --- using up what there is ----------------------------------------------------------------


def test_ten_gigabytes_are_refused(level):
    for source in ("def f(): return len(bytearray(10 * 2**30))", "def f(): return ' ' * 10**10"):
        with pytest.raises(ProgramError, match="MemoryError"):
            attempt(level, source)
    with pytest.raises(ProgramError, match="MemoryError"):
        attempt(level, "import numpy as np\ndef f(): return np.ones(10 * 2**27)")


def test_memory_may_be_used_up_to_the_limit(level):
    source = "def f(n): return len(bytearray(n * 2**20))"
    assert attempt(level, source, 100, memory=128 * MEGABYTE) == 100 * MEGABYTE
    with pytest.raises(ProgramError, match="MemoryError"):
        attempt(level, source, 200, memory=128 * MEGABYTE)


def test_an_endless_loop_ends(level):
    for body in ("while True: pass", "import time; time.sleep(1e6)", "sum(iter(int, 1))"):
        with pytest.raises(ProgramError, match=r"ran longer than 0.3 s"):
            attempt(level, f"def f():\n    {body}", seconds=0.3)
    with pytest.raises(ProgramError, match=r"ran longer than 0.3 s"):
        attempt(level, "while True: pass", seconds=0.3)


def test_a_loop_that_holds_the_interpreter_ends(level):
    with pytest.raises(ProgramError, match=r"ran longer than 0.3 s"):
        attempt(level, "import re\ndef f(): re.match('(a*)*b', 'a' * 60)", seconds=0.3)


def test_a_program_that_ignores_signals_or_stops_itself_ends(level):
    source = """
        import os, signal, time
        def f(stop):
            for number in range(1, 65):
                try:
                    signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError):
                    pass
            if stop:
                os.kill(os.getpid(), signal.SIGSTOP)
            while True:
                pass
    """
    for stop in (False, True):
        with pytest.raises(ProgramError, match=r"ran longer than 0.3 s"):
            attempt(level, source, stop, seconds=0.3)


def test_a_gigabyte_of_prints_goes_nowhere(level):
    source = """
        import os, sys
        def f():
            block = "x" * 2**20
            for _ in range(512):
                print(block)
                print(block, file=sys.stderr)
            os.write(1, b"more")
            os.write(2, b"more")
            return "done"
    """
    assert attempt(level, source) == "done"


def test_files_are_of_limited_size(level):
    source = """
        def f():
            with open("large", "wb") as file:
                for _ in range(1024):
                    file.write(bytes(2**20))
    """
    with pytest.raises(ProgramError, match=r"OSError: .* File too large"):
        attempt(level, source)


def test_files_together_are_limited_by_memory(level):
    if level != "bubblewrap":
        pytest.skip("only bubblewrap limits the scratch folder as a whole, as documented")
    source = """
        def f():
            for i in range(100):
                open(str(i), "wb").write(bytes(2**20))
    """
    with pytest.raises(ProgramError, match=r"OSError: .* No space left"):
        attempt(level, source, memory=64 * MEGABYTE)


def test_threads_left_running_end_with_the_program(level):
    source = """
        import threading
        def spin():
            while True:
                pass
        def f():
            for _ in range(3):
                threading.Thread(target=spin).start()
            return "left"
    """
    with Sandbox(textwrap.dedent(source), level=level) as box:
        try:
            told = box.call("f")
        except ProgramError as error:
            told = str(error)
    # where the limit of processes binds, threads are refused
    assert told == "left" or "can't start new thread" in told


# --- dying ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        ("os._exit(0)", r"ended the interpreter \(exit status 0\)"),
        ("os._exit(200)", r"ended the interpreter \(exit status 200\)"),
        ("os.kill(os.getpid(), 9)", r"crashed the interpreter, .* \(SIGKILL\)"),
        ("os.abort()", r"crashed the interpreter, .* \((SIGABRT|SIGSEGV)\)"),
        ("ctypes.string_at(0)", r"crashed the interpreter, .* \(SIGSEGV\)"),
        ("os.closerange(0, 100)", r"ended the interpreter|closed the pipes"),
        ("dive()", r"crashed the interpreter, .* \(SIGSEGV\)|RecursionError|MemoryError"),
        ("closed()", r"closed the pipes of the sandbox"),
    ],
)
def test_a_program_that_dies_is_told_how(level, deed, message):
    source = f"""
        import ctypes, os, sys, time

        class Deep:
            def __getattr__(self, name):
                return getattr(self, name)

        def dive():
            sys.setrecursionlimit(2**31 - 1)
            Deep().x

        def closed():
            os.closerange(0, 100)
            time.sleep(1e6)

        def f():
            {deed}
    """
    with pytest.raises(ProgramError, match=message):
        attempt(level, source)


def test_whatever_is_raised_is_an_error_of_the_program_and_survived(level):
    source = "def f(name):\n    raise eval(name)"
    with Sandbox(source, level=level) as box:
        for name in ("BaseException", "SystemExit", "KeyboardInterrupt", "GeneratorExit"):
            with pytest.raises(ProgramError, match=name):
                box.call("f", name)


def test_an_exception_that_cannot_be_told_is_survived(level):
    source = """
        class Mute(Exception):
            def __str__(self): raise self
            __repr__ = __str__
        class Deaf(Exception):
            def __str__(self): raise SystemExit
        def f(which):
            raise Mute if which else Deaf
    """
    for which in (True, False):
        with pytest.raises(ProgramError):
            attempt(level, source, which)


# --- lying ---------------------------------------------------------------------------------


def test_a_patched_interpreter_deceives_only_itself(level):
    """Whatever it replaces, our side computes with our own functions."""
    source = """
        import builtins, json, math, struct, sys
        import numpy as np
        def f(x):
            builtins.sum = builtins.max = builtins.len = lambda *a: 1e9
            json.dumps = json.loads = lambda *a, **k: '{"id": 2, "results": [1e9]}'
            math.prod = lambda *a: 0
            np.ndarray, np.argmax = list, lambda *a: 0
            main = sys.modules["__main__"]
            for name in vars(main).copy():
                if not name.startswith("__"):
                    setattr(main, name, None)
            return x
    """
    with Sandbox(textwrap.dedent(source), level=level) as box, suppress(ProgramError):
        assert box.call("f", 3.0) in (3.0, 1e9)
    assert sum([1, 2]) == 3
    assert json.loads("[1]") == [1]
    assert attempt(level, "def f(x): return x", 3.0) == 3.0


def test_nan_arrives_as_nan(level):
    assert math.isnan(attempt(level, "def f(): return float('nan')"))
    array = attempt(level, "import numpy as np\ndef f(): return np.array([np.nan, -np.inf])")
    np.testing.assert_array_equal(array, [np.nan, -np.inf])


def test_an_object_whose_comparison_lies_arrives_as_its_plain_value(level):
    source = """
        import numpy as np
        class Liar(float):
            __lt__ = __le__ = __gt__ = __ge__ = __eq__ = lambda self, other: True
            __hash__ = float.__hash__
            def __float__(self): return 1e9
            def __repr__(self): return "1e9"
        class LyingArray(np.ndarray):
            __gt__ = __eq__ = lambda self, other: True
        def f(): return [Liar(1.5), np.ones(2).view(LyingArray)]
    """
    number, array = attempt(level, source)
    assert type(number) is float
    assert number == 1.5
    assert type(array) is np.ndarray


@pytest.mark.parametrize(
    "value",
    [
        "[[]] * 10**6",
        "'x' * 2**21",
        "np.zeros(2**18)",
        "eval('[' * 150 + ']' * 150)",
        "nested(900)",
        "nested(10**5)",
        "10**10000",
        "{'__ndarray__': ['f8', [2**31, 2**31]]}",
        "{'__ndarray__': 1}",
    ],
)
def test_a_huge_or_odd_result_is_refused(strongest, value):
    source = f"""
        import sys
        import numpy as np
        sys.set_int_max_str_digits(0)
        def nested(n):
            x = []
            for _ in range(n):
                x = [x]
            return x
        def f():
            return {value}
    """
    with pytest.raises(ProgramError):
        attempt(strongest, source)


def test_a_result_beyond_the_limit_is_refused(level):
    with pytest.raises(ProgramError, match=r"a result of 2,000,0\d\d bytes; allowed are 1,048,576"):
        attempt(level, "def f(): return 'x' * 2_000_000")


FORGERIES = [
    'frame(b\'{"id": 2, "results": [7]}\')',  # a result like any other
    'frame(b\'{"id": 3, "results": [7]}\')',
    'frame(b\'{"id": 2, "results": [7, 8]}\')',
    'frame(b\'{"id": 2, "results": 7}\')',
    'frame(b\'{"id": 2, "error": 7}\')',
    'frame(b\'{"id": [], "error": ""}\')',
    "frame(b'{\"id\": 2}')",
    "frame(b'[2]')",
    "frame(b'null')",
    "frame(b'')",
    "frame(b'\\xff\\xfe')",
    "frame(b'[' * 100000)",
    "frame(b'{\"id\": 2, \"results\": [' + b'9' * 100000 + b']}')",
    'frame(b\'{"id": 2, "results": [{"__ndarray__": ["f8", [9]]}]}\')',
    'frame(b\'{"id": 2, "results": [{"__ndarray__": ["f8", [0]]}]}\', b\'12345678\')',
    "struct.pack('<QQ', 2**63, 2**63)",
    "struct.pack('<QQ', 100, 0) + b'x'",
    "b'x' * 10**6",
    "b'x'",
]


FORGER = """
import os, stat, struct
def frame(text, data=b""):
    return struct.pack("<QQ", len(text), len(data)) + text + data
def write(forged):
    for number in range(3, 4096):
        try:
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                os.write(number, forged)
        except OSError:
            pass
"""


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_is_written_to_the_pipe_is_at_worst_a_wrong_answer(strongest, forgery):
    source = f"{FORGER}\ndef f():\n    write({forgery})\n    while True:\n        pass"
    with Sandbox(source, level=strongest, seconds=0.5) as box:
        if forgery == FORGERIES[0]:
            assert box.call("f") == 7
        else:
            with pytest.raises(ProgramError, match=r"^the program (sent|ran longer)"):
                box.call("f")


def test_an_answer_written_in_advance_ends_the_program(level):
    source = f"{FORGER}\ndef f():\n    write({FORGERIES[0]})\n    return 8"
    with Sandbox(source, level=level) as box:
        assert box.call("f") == 7
        with pytest.raises(ProgramError, match="something that is no result"):
            box.call("f")


def test_a_program_that_reads_no_requests_cannot_block_us(level):
    answered = FORGERIES[0].replace("2", "1").replace("7", "")
    source = f"{FORGER}\nimport time\nwrite({answered})\ntime.sleep(1e6)"
    with (
        Sandbox(source, level=level, seconds=0.5) as box,
        pytest.raises(ProgramError, match="ran longer"),
    ):
        box.call("f", np.zeros(2**20))


# --- what is left of it --------------------------------------------------------------------


def children():
    """The processes that this one has started and that are not waited for."""
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}


def test_nothing_is_left_running_or_open(level):
    before = set(os.listdir("/proc/self/fd")), children()
    source = "import os\npid = os.getpid()\ndef f(): os._exit(1)"
    with Sandbox(source, level=level) as box, pytest.raises(ProgramError):
        box.call("f")
    with pytest.raises(ProgramError):
        Sandbox("def f(:", level=level)
    with pytest.raises(SandboxError, match="cannot be started"):
        sandbox_levels.Process(lambda *_: ["/no/such/program"], sandbox_levels.Limits(1, 1, 1))
    with pytest.raises(SandboxError, match="nonsense"):
        sandbox_levels.Process(
            lambda *_: [sys.executable, "-c", "raise SystemExit('nonsense')"],
            sandbox_levels.Limits(1, 1, 1),
        )
    assert (set(os.listdir("/proc/self/fd")), children()) == before
