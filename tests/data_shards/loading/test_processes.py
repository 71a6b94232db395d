"""Reader processes: they end with the trainer, outlive signals meant for it, and are missed when they are killed."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import deque
from pathlib import Path

import psutil
import pytest

from data_shards.errors import ReaderLost
from data_shards.loading.loader import DataConfig, TrainLoader
from data_shards.store.index import open_split


def session_members(session):
    """Processes of a session that still run."""
    members = []
    for entry in Path("/proc").iterdir():
        try:
            state, _, _, its_session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if its_session == str(session) and state != "Z":
            members.append(int(entry.name))
    return members


def wait_for_end(session):
    """Waits until no process of a session runs any more; returns, and ends, those that do after 300 seconds."""
    deadline = time.monotonic() + 300
    while (members := session_members(session)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for left_over in members:
        os.kill(left_over, signal.SIGKILL)
    return members


def test_readers_die_with_a_training_process_that_is_killed(digits_root, tmp_path):
    program = tmp_path / "train.py"
    program.write_text(
        textwrap.dedent("""
            import sys, time
            from data_shards.store.index import open_split
            from data_shards.loading.loader import DataConfig, TrainLoader
            if __name__ == "__main__":
                split = open_split(sys.argv[1], "train")
                loader = TrainLoader(split, DataConfig(shards=sys.argv[1], workers=2), 32, 64, 0, 0, 1, 0, 10**6)
                for batch in loader:
                    print("reading", flush=True)
                    time.sleep(60)
        """)
    )
    command = [sys.executable, str(program), str(digits_root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline() == b"reading\n"
        assert len(session_members(process.pid)) >= 4, "the process, the fork server, two readers"
        os.kill(process.pid, signal.SIGKILL)
    assert wait_for_end(process.pid) == []


def test_signals_to_the_process_group_leave_the_readers_to_the_trainer(digits_root, tmp_path):
    # As launchers, SLURM and terminals send them; the trainer goes on until it has saved.
    program = tmp_path / "train.py"
    program.write_text(
        textwrap.dedent("""
            import signal, sys
            from data_shards.store.index import open_split
            from data_shards.loading.loader import DataConfig, TrainLoader
            if __name__ == "__main__":
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                    signal.signal(number, lambda number, frame: None)
                split = open_split(sys.argv[1], "train")
                loader = TrainLoader(split, DataConfig(shards=sys.argv[1], workers=1), 32, 64, 0, 0, 1, 0, 10**6)
                batches = iter(loader)
                next(batches)
                print("reading", flush=True)
                sys.stdin.readline()
                for _ in range(200):
                    next(batches)
                print("saved", flush=True)
        """)
    )
    command = [sys.executable, str(program), str(digits_root)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout.readline() == b"reading\n"
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            os.killpg(process.pid, number)
        out, err = process.communicate(b"go on\n", timeout=900)
    assert (out, err, process.returncode) == (b"saved\n", b"", 0)
    assert wait_for_end(process.pid) == [], "ended, though the trainer left off in the middle of its batches"


def readers():
    servers = [each for each in psutil.Process().children() if "forkserver" in " ".join(each.cmdline())]
    return {reader for server in servers for reader in server.children()}


def test_a_reader_that_is_killed_is_told_of(digits_root):
    split, config = open_split(digits_root, "train"), DataConfig(shards=digits_root, workers=2)
    others = readers()  # of loaders that other tests have left
    batches = iter(TrainLoader(split, config, 32, 64, 0, 0, 1, 0, 10**6))
    next(batches)
    first, _ = readers() - others
    first.kill()  # as the system does where memory is short
    with pytest.raises(ReaderLost, match=r"a process that reads ahead on \S+ has ended unexpectedly: killed, perhaps"):
        deque(batches, maxlen=0)


def test_readers_keep_to_one_thread_each(digits_root, tmp_path):
    program = tmp_path / "threads.py"
    program.write_text(
        textwrap.dedent("""
            import sys, torch, cv2
            from data_shards.loading import batch_reader
            from data_shards.loading import loader
            from data_shards.store.index import open_split
            class Asking(batch_reader.BatchReader):
                def __getitem__(self, request):
                    answer = super().__getitem__(request)
                    threads = torch.tensor([torch.get_num_threads(), cv2.getNumThreads()])
                    return answer._replace(batch=answer.batch._replace(labels=threads))
            if __name__ == "__main__":
                split = open_split(sys.argv[1], "train")
                config = loader.DataConfig(shards=sys.argv[1], workers=1)
                evaluation = loader.EvaluationLoader(split, config, 32, 64, 0, 1, ids=range(64))
                evaluation._reader = Asking(split, config, 0, False)
                print([batch.labels.tolist() for batch in evaluation])
        """)
    )
    command = [sys.executable, str(program), str(digits_root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    assert done.stdout.strip() == "[[1, 1]]"
