"""How fast files are cut, beside what parsing them costs anyway.

    python benchmarks/chunk_speed.py --clones FOLDER_OF_CLONES [--peers PYTHON_WITH_THE_PEERS]

CPU seconds, all rounds interleaved so that every way meets the same machine, the fastest round of
each file taken (of all of them together for the hand-over, and for what it is compared with),
garbage collected between rounds as in the process that cuts:

parse      tree-sitter alone, on bytes that are decoded and have plain line ends already
cut        the whole of it: decode, parse, cut, hash
hand-over  what the process that may be lost adds to it, both processes counted, without its start
semble     its chunker at an equal number of chunks: on each file in turn with the two above where
           the Python that runs this has it, else in a process of its own (--peers), which on a
           crowded machine meets another load
refresh    `refresh_chunks` of whole repositories (--refresh): git, the rows of the tables, LanceDB

Exit code 1 when parse / cut is below 0.6, or semble / cut below 0.75.
"""

import argparse
import gc
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from code_files import CodeFile, PeerCuts, ask_peer, clones, code_files, with_equal_chunks
from peer_cuts import Cut
from peer_cuts import semble as semble_here

from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.grammar import parser
from codesearch_assets.chunking.languages import BY_NAME, LANGUAGES
from codesearch_assets.chunking.worker import CuttingProcess

PARSE, SEMBLE = 0.6, 0.75  # goals
LEAST = 0.2  # MB of a language that is worth a row


def cpu() -> float:
    """CPU seconds of this process and its ended children."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def seconds(work: Callable[[], object]) -> float:
    before = cpu()
    work()
    return cpu() - before


@dataclass(frozen=True)
class Semble:
    """The peer at the size that gives as many chunks as we make; `here`: in this process."""

    python: Path
    size: int
    here: Cut | None


def in_turn(
    files: Sequence[CodeFile], texts: Sequence[bytes], semble: Cut | None
) -> dict[str, list[float]]:
    """CPU seconds of each way for each file."""
    parsing, cutting, peer = [], [], []
    for file, text in zip(files, texts, strict=True):
        grammar = BY_NAME[file.language].grammar
        assert grammar is not None
        parse = parser(grammar.loader).parse
        started = time.thread_time()
        parse(text)
        parsed = time.thread_time()
        cut(text, file.path, file.language)
        ended = time.thread_time()
        parsing.append(parsed - started)
        cutting.append(ended - parsed)
        if semble is not None:
            semble(file.text, file.language)
            peer.append(time.thread_time() - ended)
    return {"parse": parsing, "cut": cutting} | ({"semble": peer} if peer else {})


def cut_here(files: Sequence[CodeFile], texts: Sequence[bytes]) -> None:
    for file, text in zip(files, texts, strict=True):
        cut(text, file.path, file.language)


def cut_in_child(files: Sequence[CodeFile], texts: Sequence[bytes]) -> None:
    told = ((f.path, f.language, text) for f, text in zip(files, texts, strict=True))
    with CuttingProcess() as cutting:
        for _ in cutting.cut_many(told):
            pass


def measure(
    files: Sequence[CodeFile], rounds: int, semble: Semble | None = None
) -> dict[str, float]:
    """CPU seconds of each way over the same files."""
    texts = [file.text.encode("utf-8", "surrogatepass") for file in files]
    best: dict[str, list[float]] = {}
    gc.collect()
    gc.disable()  # as in the process that cuts
    for _ in range(rounds):
        found = in_turn(files, texts, semble.here if semble is not None else None)
        gc.collect()
        found["start"] = [seconds(lambda: cut_in_child(files[:1], texts[:1]))]
        found["here"] = [seconds(lambda: cut_here(files, texts))]
        found["child"] = [seconds(lambda: cut_in_child(files, texts))]
        if semble is not None and semble.here is None:
            again = ask_peer(semble.python, "semble", semble.size, files)
            assert isinstance(again, PeerCuts)
            found["semble"] = again.seconds
        best = {way: list(map(min, best.get(way, new), new)) for way, new in found.items()}
    gc.enable()
    return {way: sum(values) for way, values in best.items()}


def semble_of(python: Path, files: Sequence[CodeFile]) -> Semble | None:
    texts = [file.text.encode("utf-8", "surrogatepass") for file in files]
    counts = [
        len(cut(text, file.path, file.language).chunks)
        for file, text in zip(files, texts, strict=True)
    ]
    found = with_equal_chunks(python, "semble", files, counts)
    if not isinstance(found, PeerCuts):
        print(f"semble skipped: {found}")
        return None
    print(f"semble {found.version}: {found.chunks} chunks at {found.size}, ours {sum(counts)}")

    try:
        here = semble_here(found.size)[0]
    except ImportError:
        return Semble(python, found.size, None)
    for language, text in {file.language: file.text for file in files}.items():
        here(text, language)  # parsers are made, and unpacked, before the clock runs
    return Semble(python, found.size, here)


def show(name: str, files: Sequence[CodeFile], found: dict[str, float]) -> None:
    size = sum(file.disk.stat().st_size for file in files) / 1e6
    whole = found["cut"]
    added = (found["child"] - found["start"]) / found["here"] - 1
    semble = f"{found['semble'] / whole:>14.2f}" if "semble" in found else f"{'-':>14}"
    print(
        f"{name:<12}{len(files):>6}{size:>8.1f}{size / whole:>9.2f}{len(files) / whole:>9.0f}"
        f"{found['parse'] / whole:>13.2f}{added:>+12.1%}{semble}"
    )


def refresh(folder: Path, names: Sequence[str]) -> None:
    """The asset itself over whole clones: CPU and wall seconds."""
    from codesearch_assets.chunks import refresh_chunks
    from codesearch_assets.repo_snapshots import take_snapshot
    from codesearch_resources.embedders.embedded import EmbeddedEmbedder
    from codesearch_resources.repositories import Repository
    from codesearch_resources.settings import RepositorySettings
    from codesearch_resources.store import Store

    for clone in clones(folder):
        name = clone.relative_to(folder).parts[0].lower().replace("+", "-")
        if not any(wanted in name for wanted in names):
            continue
        with tempfile.TemporaryDirectory() as data:
            store = Store(Path(data), EmbeddedEmbedder.id, EmbeddedEmbedder.dimensions)
            store.create()
            repository = Repository(name, path=clone)
            entry = RepositorySettings(name=name, path=clone)
            take_snapshot(store, repository, entry, repository.head())
            before, started = cpu(), time.perf_counter()
            result = refresh_chunks(store, repository)
            used, wall = cpu() - before, time.perf_counter() - started
            print(
                f"refresh_chunks {name}: {result.megabytes:.1f} MB, {result.parsed_now} files, "
                f"{store.count('chunks')} chunks, {used:.1f} CPU s, {wall:.1f} s, "
                f"{result.megabytes / wall:.1f} MB/s"
            )


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--clones", type=Path, required=True)
    arguments.add_argument("--peers", type=Path, help="a Python with semble installed")
    arguments.add_argument("--files", type=int, default=300, help="of each language, at most")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--languages", default="")
    arguments.add_argument("--refresh", default="aiohttp trpc gin", help="names of clones")
    given = arguments.parse_args()
    languages = given.languages.split() or [row.name for row in LANGUAGES if row.grammar]
    with tempfile.TemporaryDirectory() as work:
        by_language = code_files(given.clones, Path(work), languages, given.files)
        sys.exit(_run(given, by_language))


def _run(given: argparse.Namespace, by_language: dict[str, list[CodeFile]]) -> str | None:
    everything = [file for files in by_language.values() for file in files]
    semble = semble_of(given.peers or Path(sys.executable), everything)
    print(
        f"{'':<12}{'files':>6}{'MB':>8}{'MB/CPU s':>9}{'files/s':>9}{'parse / cut':>13}"
        f"{'hand-over':>12}{'semble / cut':>14}"
    )
    for language, files in by_language.items():
        if sum(len(file.text) for file in files) > LEAST * 1e6:
            show(language, files, measure(files, given.rounds))
    found = measure(everything, given.rounds, semble)
    show("all", everything, found)
    print(f"start of the child with its first file: {found['start']:.2f} CPU s")
    if given.refresh:
        refresh(given.clones, given.refresh.split())
    missed = [
        way
        for way, goal in (("parse", PARSE), ("semble", SEMBLE))
        if way in found and found[way] < goal * found["cut"]
    ]
    return f"goal missed against: {', '.join(missed)}" if missed else None


if __name__ == "__main__":
    main()
