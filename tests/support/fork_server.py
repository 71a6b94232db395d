"""A process that has imported what programs here import, and turns copies of itself into programs that are asked for.

`python -m tests.support.fork_server DESCRIPTOR`, started by `forked_program`, takes on its socket, for each program,
three descriptors as its standard streams and a fourth, a socket of its own. That one brings one line of JSON: the
command (a script, `-m` and a module or `-c` and a program; with arguments), the environment, and the folder to be in;
and it answers with the process's id and, once that has ended, with its exit status. The end of the first socket ends
everything.

A copy is made while there is one thread, so no lock is held by somebody who is not in it. The environment that a
module reads when it is imported is this process's, not the program's.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
import types
from contextlib import suppress
from pathlib import Path

# What training imports at some time, seconds of it; the last by the constructors of optimizers and of DeepSpeed.
IMPORTED = (
    "pipeline.experiment",
    "pipeline.cli",
    "torch.distributed.fsdp",
    "torch.profiler",
    "torch._dynamo",
    "deepspeed",
    "deepspeed.runtime.zero.muon.original_muon",
)


def serve(requests: socket.socket) -> list[str] | None:
    """Make processes until `requests` ends, then end them, and return None; in each process, return its command."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a copy would write to all of these objects, and so copy them
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: for the tests to decide upon
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([requests, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _tell_ends(running)
        if requests in ready:
            message, descriptors, _, _ = socket.recv_fds(requests, 1, 4)
            if not message:
                break
            asked = socket.socket(fileno=descriptors[3])
            assert len(os.listdir("/proc/self/task")) == 1, "a fork of several threads may hang"
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for end in (requests, woken, wakes, *running.values()):
                    end.close()
                return _become(asked, descriptors[:3])
            for descriptor in descriptors[:3]:
                os.close(descriptor)
            running[pid] = asked
            asked.sendall(f"{pid}\n".encode())
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    return None


def _tell_ends(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as asked, suppress(OSError):  # whoever asked may have gone
            asked.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(asked: socket.socket, streams: list[int]) -> list[str]:
    """Take up the environment, folder and streams of the program that is asked for; returns its command."""
    with asked, asked.makefile() as lines:
        request = json.loads(lines.readline())
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # The server's own were made for what it was given, which may have been files, where these are pipes.
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (open to the end)
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    return request["command"]


def run(command: list[str]) -> None:
    """What `python COMMAND…` does, up to its end."""
    code = 1
    try:
        if command[0] == "-m":
            sys.argv = command[1:]
            sys.path[0] = os.getcwd()
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        elif command[0] == "-c":
            sys.argv = ["-c", *command[2:]]
            sys.path[0] = ""
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(command[1], "<string>", "exec"), vars(main))
        else:
            sys.argv = command
            sys.path[0] = str(Path(command[0]).parent)
            runpy.run_path(command[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # waits for those that are no daemons
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without taking all of the imported apart, for seconds


if __name__ == "__main__":
    if program := serve(socket.socket(fileno=int(sys.argv[1]))):
        run(program)
    os._exit(0)
