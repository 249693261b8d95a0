"""Compiling in worker processes: LLVM holds locks that keep two threads from compiling at once.

An abort inside LLVM ends the worker (see `worker`) and not the program.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import os
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import IO

from ..ir.target import Target
from .cpu import compile_text

# Measured: what one module costs besides its text, what a character costs, what starting takes.
_MODULE_SECONDS = 0.003
_CHARACTER_SECONDS = 0.6e-6
_START_SECONDS = 0.4

_HEAD = struct.Struct("<BQ")
OK, REFUSED = 0, 1


def compile_texts(texts: Sequence[str], target: Target) -> list[bytes]:
    """The objects of several LLVM modules, compiled side by side where that pays.

    Raises RuntimeError if LLVM refuses a text, or ends the process that compiles it.
    """
    cost = sum(map(estimate, texts))
    pool = _pool(target, os.getpid()) if target.threads > 1 and len(texts) > 1 else None
    if pool is None or cost < (0.02 if pool.running else 2 * _START_SECONDS):
        return [compile_text(text, target) for text in texts]
    return pool.compile(texts)


def estimate(text: str) -> float:
    """Seconds that compiling a text will take, roughly."""
    return _MODULE_SECONDS + _CHARACTER_SECONDS * len(text)


@lru_cache(maxsize=2)
def _pool(target: Target, pid: int) -> _Pool:
    """The workers of this process; a forked child starts its own."""
    return _Pool(target)


class _Pool:
    """Workers that live until they are idle for long or the program ends."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        atexit.register(self.close)

    @property
    def running(self) -> bool:
        return any(worker.alive for worker in self._workers)

    def compile(self, texts: Sequence[str]) -> list[bytes]:
        """This thread and every worker take the next largest text until none is left."""
        with self._lock:
            wanted = min(self._target.threads, len(texts)) - 1
            while len(self._workers) < wanted:
                self._workers.append(_Worker(self._target))
            job = _Job(texts)
            feeders = [
                threading.Thread(target=job.run, args=(worker.compile,), daemon=True)
                for worker in self._workers[:wanted]
            ]
            for feeder in feeders:
                feeder.start()
            job.run(lambda text: compile_text(text, self._target))
            for feeder in feeders:
                feeder.join()
            return job.objects()

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


class _Job:
    """Texts to compile, the objects so far, and the first error."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        largest_first = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        self._todo = deque(largest_first)
        self._done: dict[int, bytes] = {}
        self._errors: list[BaseException] = []

    def run(self, compile_one: Callable[[str], bytes]) -> None:
        """Compile the next text until none is left or one has failed."""
        try:
            while not self._errors:
                index = self._todo.popleft()
                self._done[index] = compile_one(self._texts[index])
        except IndexError:
            return
        except BaseException as error:
            self._errors.append(error)

    def objects(self) -> list[bytes]:
        if self._errors:
            raise self._errors[0]
        return [self._done[i] for i in range(len(self._texts))]


class _Worker:
    """The parent's end of one worker process, started at its first text."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def compile(self, text: str) -> bytes:
        """Compile one text; a worker that went away is replaced once, since it may have been
        idle for too long."""
        for _ in range(2):
            if not self.alive:
                self._start()
            answer = self._ask(text)
            if answer is not None:
                status, payload = answer
                if status == OK:
                    return payload
                raise RuntimeError(payload.decode())
            self.close()
        raise RuntimeError("LLVM ended the process that was compiling this module:\n" + text)

    def _start(self) -> None:
        self.close()
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            process_group=0,
        )
        self._send(json.dumps(dataclasses.asdict(self._target)))

    def _send(self, text: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        # Without reader the answer will be missing, which is handled where it is read.
        with contextlib.suppress(BrokenPipeError):
            write(self._process.stdin, OK, text.encode())

    def _ask(self, text: str) -> tuple[int, bytes] | None:
        self._send(text)
        assert self._process is not None and self._process.stdout is not None
        return read(self._process.stdout)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        process.wait()


def write(stream: IO[bytes], status: int, payload: bytes) -> None:
    stream.write(_HEAD.pack(status, len(payload)))
    stream.write(payload)
    stream.flush()


def read(stream: IO[bytes]) -> tuple[int, bytes] | None:
    """The next message, None at the end of the stream."""
    head = _exactly(stream, _HEAD.size)
    if head is None:
        return None
    status, length = _HEAD.unpack(head)
    payload = _exactly(stream, length)
    return None if payload is None else (status, payload)


def _exactly(stream: IO[bytes], count: int) -> bytes | None:
    """`count` bytes, however the pipe cuts them; None if it ends before."""
    parts = bytearray()
    while len(parts) < count:
        part = stream.read(count - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)
