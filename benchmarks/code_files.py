"""Real files for the benchmarks of the chunker, and peers that cut the same ones."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.files import classify
from codesearch_assets.chunking.source import decode
from codesearch_resources.git import git_dir
from codesearch_resources.repositories import Repository

PEERS = ("semble", "cocoindex", "astchunk", "llama-index")
SIZES = {"semble": 750, "cocoindex": 1000, "astchunk": 1800, "llama-index": 1500}  # their own
STEPS = 4  # of approaching an equal number of chunks
SAMPLE = 8  # on every so manieth file
SEED = 5

Ranges = list[tuple[int, int]]


@dataclass(frozen=True)
class CodeFile:
    """A file of a repository at its HEAD, decoded, line ends made plain; `disk`: a copy."""

    path: str
    language: str
    text: str
    disk: Path


@dataclass(frozen=True)
class PeerCuts:
    """What a peer made of the files: ranges in characters, None where it gave none; CPU seconds."""

    version: str
    size: int
    seconds: list[float]
    cuts: list[Ranges | None]

    @property
    def chunks(self) -> int:
        return sum(len(cut) for cut in self.cuts if cut)


def clones(folder: Path) -> list[Path]:
    """The git repositories in a folder, or one level deeper."""
    below = sorted({*folder.glob("*"), *folder.glob("*/*")})
    return [path for path in below if path.is_dir() and git_dir(path)]


def code_files(
    folder: Path, work: Path, languages: Sequence[str], most: int
) -> dict[str, list[CodeFile]]:
    """At most so many files of each language from the clones in a folder, the same each time.

    Vendored and generated files are left out, and those that the chunker skips. Copies go to
    `work`, for peers that run elsewhere.
    """
    listed: defaultdict[str, list[tuple[Path, str, str]]] = defaultdict(list)
    for clone in clones(folder):
        repository = Repository("r", path=clone)
        for entry in repository.snapshot(repository.head()).entries:
            seen = classify(entry.path, entry.size)
            if entry.kind != "file" or seen.skip or {"vendored", "generated"} & {*seen.marks}:
                continue
            if seen.language in languages:
                listed[seen.language].append((clone, entry.path, entry.blob_id))
    found: dict[str, list[CodeFile]] = {}
    for language in languages:
        entries = sorted({blob: (clone, path) for clone, path, blob in listed[language]}.items())
        chosen = sorted(Random(SEED).sample(entries, min(most, len(entries))), key=lambda e: e[1])
        found[language] = list(_read(chosen, language, work))
    return found


def _read(
    chosen: Sequence[tuple[str, tuple[Path, str]]], language: str, work: Path
) -> list[CodeFile]:
    by_clone: defaultdict[Path, list[tuple[str, str]]] = defaultdict(list)
    for blob, (clone, path) in chosen:
        by_clone[clone].append((blob, path))
    files = []
    for clone, blobs in by_clone.items():
        contents = Repository("r", path=clone).blobs([blob for blob, _ in blobs])
        for (blob, path), (_, data) in zip(blobs, contents, strict=True):
            decoded = decode(data) if data else ""
            if not data or isinstance(decoded, str):
                continue
            found = cut(data, path)
            if found.outcome == "skipped" or found.language != language:  # a header of C++
                continue
            text = decoded[0].replace("\r\n", "\n").replace("\r", "\n")
            disk = work / language / f"{blob}{Path(path).suffix}"
            disk.parent.mkdir(parents=True, exist_ok=True)
            disk.write_text(text, "utf-8")
            files.append(CodeFile(path, language, text, disk))
    return files


def ask_peer(python: Path, peer: str, size: int, files: Sequence[CodeFile]) -> PeerCuts | str:
    """The peer's cuts of the files, or why there are none."""
    told = {
        "peer": peer,
        "size": size,
        "files": [[str(file.disk), file.language] for file in files],
    }
    script = Path(__file__).with_name("peer_cuts.py")
    done = subprocess.run(
        [python, script], input=json.dumps(told), capture_output=True, text=True, check=False
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it died"])[-1]
    said: dict[str, Any] = json.loads(done.stdout)
    return PeerCuts(said["version"], size, said["seconds"], said["cuts"])


def with_equal_chunks(
    python: Path, peer: str, files: Sequence[CodeFile], counts: Sequence[int]
) -> PeerCuts | str:
    """The peer's cuts at the size that gives about as many chunks as `counts`, ours by file."""
    size = SIZES[peer]
    some = range(0, len(files), SAMPLE)
    for _ in range(STEPS):
        found = ask_peer(python, peer, size, [files[n] for n in some])
        if isinstance(found, str):
            return found
        wanted = sum(counts[n] for n, cut in zip(some, found.cuts, strict=True) if cut is not None)
        if not wanted:
            return "none of these languages"
        size = max(50, round(size * found.chunks / wanted))
    return ask_peer(python, peer, size, files)


def percentile(values: Sequence[int], share: float) -> int:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


Offsets = Callable[[int], int]


def characters(text: str) -> Offsets:
    """From offsets in the UTF-8 bytes of a text to offsets in its characters."""
    if text.isascii():
        return lambda offset: offset
    starts = [0] * (len(text.encode("utf-8", "surrogatepass")) + 1)
    at = 0
    for number, char in enumerate(text):
        width = len(char.encode("utf-8", "surrogatepass"))
        starts[at : at + width] = [number] * width
        at += width
    starts[at] = len(text)
    return starts.__getitem__
