"""Cutting in a child process that can be lost: a grammar may hang, crash or eat all memory.

Files travel to the child in batches and their chunks come back one file at a time, so it is known
which file the child was at when it ended. That file is tried once more without its grammar, in the
next child; everything behind it goes on. The child is spawned, never forked, and ends with its
parent: it reads the end of its input.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from importlib import import_module
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import IO, Any

from codesearch_assets.chunking.chunk import Chunk, FileChunks, Symbol
from codesearch_assets.chunking.chunker import cut

BATCH_BYTES = 2**20  # source handed over at once,
BATCH_FILES = 64
AHEAD = 3  # batches under way beyond the one that is waited for
TIMED_OUT = "parser timed out"
DIED = "parser died"
START_SECONDS = 120.0

Cut = Callable[[bytes, str, str, str], FileChunks]  # data, path, language, without_grammar

_LENGTH = struct.Struct("<Q")
_READY = b""
# The child finds its modules where its parent does, wherever either was started.
_START = "import sys; sys.path[:] = {path!r}; from {module} import serve; serve({arguments!r})"


class CuttingFailed(Exception):
    """The child process does not start; the message has what it said."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost.

    cpu_seconds, cpu_seconds_per_mb: of the child's CPU time, which a busy machine does not use up.
    wall: seconds for each of these, for a child that sleeps. memory: the child's address space.
    """

    cpu_seconds: float = 10.0
    cpu_seconds_per_mb: float = 10.0
    wall: float = 6.0
    memory: int = 4 * 2**30

    def cpu(self, size: int) -> float:
        """CPU seconds for a file of so many bytes."""
        return self.cpu_seconds + self.cpu_seconds_per_mb * size / 1e6


@dataclass(frozen=True, slots=True)
class _File:
    """A file under way; `without_grammar`: what its first try ended with, else "", after how many
    `seconds`."""

    path: str
    language: str
    data: bytes
    without_grammar: str = ""
    seconds: float = 0.0


class CuttingProcess:
    """Cuts files in one child process, which is started with the first file and replaced when lost.

    with CuttingProcess() as cutting:
        for found in cutting.cut_many(files): ...

    cut: the function that cuts, importable by its name. started: children so far.
    One `cut_many` at a time.
    """

    def __init__(self, cut: Cut = cut, limits: Limits | None = None) -> None:
        self._target = f"{cut.__module__}:{cut.__qualname__}"
        self._limits = limits or Limits()
        self._child: _Child | None = None
        self.started = 0

    def __enter__(self) -> CuttingProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_child()

    def cut_many(self, files: Iterable[tuple[str, str, bytes]]) -> Iterator[FileChunks]:
        """The chunks of each (path, language, data), in order.

        Files are taken some batches before their chunks are wanted: reading them, cutting them and
        what is done with the chunks overlap. Raises CuttingFailed when no child starts.
        """
        under_way: deque[deque[_File]] = deque()
        try:
            for batch in _batches(files):
                self._hand_over(batch)
                under_way.append(deque(batch))
                if len(under_way) > AHEAD:
                    yield from self._first_batch(under_way)
            while under_way:
                yield from self._first_batch(under_way)
        finally:
            if under_way:  # left before the end: what the child still says answers nobody
                self._end_child()

    def _first_batch(self, under_way: deque[deque[_File]]) -> Iterator[FileChunks]:
        batch = under_way[0]
        while batch:
            file = batch[0]
            assert self._child is not None
            asked = time.monotonic()
            found = self._child.answer(self._limits.cpu(len(file.data)) * self._limits.wall)
            if isinstance(found, FileChunks):
                batch.popleft()
                if file.seconds:
                    found = replace(found, seconds=found.seconds + file.seconds)
                yield found
                continue
            self._end_child()
            lost = file.seconds + time.monotonic() - asked
            if file.without_grammar:  # it was not the grammar
                batch.popleft()
                yield FileChunks(file.language, "skipped", file.without_grammar, False, (), lost)
            else:
                batch[0] = replace(file, without_grammar=found, seconds=lost)
            for left in under_way:
                self._hand_over(left)
        under_way.popleft()

    def _hand_over(self, batch: Iterable[_File]) -> None:
        if self._child is None:
            self._child = _Child(self._target, self._limits)
            self.started += 1
        self._child.send([(f.data, f.path, f.language, f.without_grammar) for f in batch])

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


def _batches(files: Iterable[tuple[str, str, bytes]]) -> Iterator[list[_File]]:
    batch: list[_File] = []
    size = 0
    for path, language, data in files:
        if batch and (size + len(data) > BATCH_BYTES or len(batch) == BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(_File(path, language, data))
        size += len(data)
    if batch:
        yield batch


class _Child:
    """The child as its parent sees it; a thread writes to it and one reads what it says.

    With threads neither side can block the other, whatever the pipes hold.
    """

    def __init__(self, target: str, limits: Limits) -> None:
        arguments = (target, *astuple(limits))
        code = _START.format(path=sys.path, module=__name__, arguments=arguments)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  a pipe could fill and block
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is for the parent, which ends it
        )
        self._ready = False
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        self._incoming: SimpleQueue[bytes | None] = SimpleQueue()
        self._threads = [Thread(target=work, daemon=True) for work in (self._write, self._read)]
        for thread in self._threads:
            thread.start()

    def send(self, batch: list[tuple[bytes, str, str, str]]) -> None:
        """Hand files over; does not wait."""
        self._outgoing.put(pickle.dumps(batch, pickle.HIGHEST_PROTOCOL))

    def answer(self, seconds: float) -> FileChunks | str:
        """What became of the next file, or why there is no answer: TIMED_OUT or DIED."""
        if not self._ready:
            self._await_start()
        try:
            frame = self._incoming.get(timeout=seconds)
        except Empty:
            return TIMED_OUT
        if frame is None:
            return TIMED_OUT if self._process.wait() == -signal.SIGPROF else DIED
        return _unpacked(pickle.loads(frame))

    def end(self) -> None:
        """Kill it, wherever it is."""
        self._outgoing.put(None)
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe is not None
            with suppress(OSError):  # what could not be written any more
                pipe.close()

    def _await_start(self) -> None:
        with suppress(Empty):
            self._ready = self._incoming.get(timeout=START_SECONDS) == _READY
        if not self._ready:
            self._process.kill()
            self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().decode("utf-8", "replace").strip()
            raise CuttingFailed(f"no process to cut files starts: {said[-500:]}")

    def _write(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended; the reader sees that too
            while (batch := self._outgoing.get()) is not None:
                _put(self._process.stdin, batch)

    def _read(self) -> None:
        assert self._process.stdout is not None
        while (frame := _take(self._process.stdout)) is not None:
            self._incoming.put(frame)
        self._incoming.put(None)


def _put(pipe: IO[bytes], frame: bytes) -> None:
    pipe.write(_LENGTH.pack(len(frame)) + frame)  # at once, or the other side wakes up twice
    pipe.flush()


def _take(pipe: IO[bytes]) -> bytes | None:
    """The next frame, None at the end, even where that comes in the middle of one."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    frame = pipe.read(length)
    return frame if len(frame) == length else None


# Plain tuples go over the pipe: with a class, each is pickled with its name and a call.
_SYMBOLS = Chunk._fields.index("symbols")


def _packed(found: FileChunks, seconds: float) -> tuple[Any, ...]:
    chunks = []
    for chunk in found.chunks:
        values: list[Any] = [*chunk]
        values[_SYMBOLS] = [*map(tuple, chunk.symbols)]
        chunks.append(values)
    return found.language, found.outcome, found.reason, found.generated, chunks, seconds


def _unpacked(packed: tuple[Any, ...]) -> FileChunks:
    language, outcome, reason, generated, chunks, seconds = packed
    for values in chunks:
        values[_SYMBOLS] = tuple(map(Symbol._make, values[_SYMBOLS]))
    found = tuple(map(Chunk._make, chunks))
    return FileChunks(language, outcome, reason, generated, found, seconds)


def serve(arguments: tuple[Any, ...]) -> None:
    """The child: cut what comes in on standard input, until it ends."""
    target, *limit_values = arguments
    limits = Limits(*limit_values)
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    _limit_memory(limits.memory)
    module, name = target.split(":")
    cut = getattr(import_module(module), name)
    _put(outgoing, _READY)
    gc.freeze()
    gc.disable()  # it walks all that a file has made, again and again, and finds nothing
    with suppress(BrokenPipeError):
        while (frame := _take(incoming)) is not None:
            gc.collect()
            for file in pickle.loads(frame):
                # Nothing catches this signal, so it ends even a parser that never comes back.
                signal.setitimer(signal.ITIMER_PROF, limits.cpu(len(file[0])))
                began = time.perf_counter()
                found = cut(*file)
                packed = _packed(found, time.perf_counter() - began)
                _put(outgoing, pickle.dumps(packed, pickle.HIGHEST_PROTOCOL))
    os._exit(0)  # the parent has gone, or wants nothing more


def _limit_memory(size: int) -> None:
    import resource

    with suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
