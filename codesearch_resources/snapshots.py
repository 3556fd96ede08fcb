"""What one commit holds, and how git's answers about it are read."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter

_KINDS = {b"120000": "symlink", b"160000": "submodule", b"100755": "executable"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a commit.

    path: relative to the top of the repository. Always valid text: bytes that are not UTF-8 stand
        as escapes (`caf\\xe9.py`), so such a path is a name to show, not one to open.
    size: bytes; 0 for a submodule; None when the blob is missing (partial clone, corrupt).
    kind: "file", "executable", "symlink" (not followed) or "submodule" (not entered; its blob_id
        is a commit of another repository).
    """

    path: str
    blob_id: str
    size: int | None
    kind: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one commit holds. A repository without commits: commit "", no time, no entries.

    committed_at: aware, UTC; None also where the commit carries an impossible time.
    """

    commit: str
    committed_at: datetime | None
    subject: str
    entries: tuple[Entry, ...]


def is_lfs_pointer(data: bytes) -> bool:
    """Whether a blob is a Git LFS pointer: the content it stands for is not in the repository."""
    return (
        len(data) < 1024
        and data.startswith(b"version https://git-lfs.github.com/spec/")
        and b"\noid sha256:" in data
    )


def parse_commit(raw: bytes) -> tuple[datetime | None, str]:
    """(committed at, subject) of a commit object."""
    head, _, message = raw.partition(b"\n\n")
    stamp = re.search(rb"^committer .*> (-?\d+)", head, re.MULTILINE)
    named = re.search(rb"^encoding (\S+)", head, re.MULTILINE)
    first = message.lstrip(b"\n").partition(b"\n\n")[0]
    try:
        subject = first.decode(named[1].decode("ascii") if named else "utf-8")
    except (LookupError, ValueError):
        subject = first.decode("utf-8", "replace")
    try:
        at = datetime.fromtimestamp(int(stamp[1]), UTC) if stamp else None
    except (OverflowError, ValueError, OSError):
        at = None
    return at, " ".join(subject.split())


def parse_tree(listing: bytes, prefix: str) -> tuple[Entry, ...]:
    """The entries of `ls-tree -r -l -z`: `mode type id size<TAB>path<NUL>`."""
    entries: list[Entry] = []
    odd: list[tuple[bytes, str, int | None, str]] = []
    for line in listing.split(b"\0"):
        if not line:
            continue
        meta, _, raw = line.partition(b"\t")
        mode, _type, blob_id, length = meta.split()
        size = int(length) if length.isdigit() else 0 if length == b"-" else None
        kind = _KINDS.get(mode, "file")
        try:
            path = prefix + raw.decode()
        except UnicodeDecodeError:
            odd.append((raw, blob_id.decode(), size, kind))
            continue
        entries.append(Entry(path, blob_id.decode(), size, kind))
    if odd:
        taken = {entry.path for entry in entries}
        for raw, name, size, kind in odd:
            path = prefix + raw.decode("utf-8", "backslashreplace")
            while path in taken:  # a path is a key: two of them must not read the same
                path += "~"
            taken.add(path)
            entries.append(Entry(path, name, size, kind))
    return tuple(sorted(entries, key=attrgetter("path")))
