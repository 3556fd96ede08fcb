"""The data folder of one configuration: its format, its owner, its locks.

Two configurations never share a data folder or a Dagster home: the second would remove what it
does not know. Each folder therefore names the configuration it belongs to.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path

from filelock import FileLock, Timeout

FORMAT = 1
FORMAT_FILE = "format"
OWNER_FILE = "configuration"
LOCKS = "locks"
RESULTS_FILE = "results.db"


class DataDirError(Exception):
    """The data folder cannot be used; the message says what to do."""


class Busy(Exception):
    """Another process works on this repository; the message says which."""


def open_data_dir(data_dir: Path, dagster_home: Path, configuration: Path) -> None:
    """Make or check the two folders of a configuration.

    Raises DataDirError for a folder of a newer format or of another configuration, or one that
    cannot be written.
    """
    try:
        folders = (data_dir, dagster_home)
        # All checks go before the first write: a folder that is refused stays as it is.
        unowned = [folder for folder in folders if not _owned(folder, configuration)]
        has_format = _has_format(data_dir)
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        if not has_format:
            _write(data_dir / FORMAT_FILE, f"{FORMAT}\n")
        for folder in unowned:
            _write(folder / OWNER_FILE, f"{configuration}\n")
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise DataDirError(storage_trouble(str(error)) or str(error)) from error
        raise DataDirError(
            f"cannot write {error.filename or data_dir}: {error.strerror}. "
            "Make the folder writable, or set data_dir and dagster_home to folders that are."
        ) from error


def check_data_dir(data_dir: Path, configuration: Path) -> None:
    """The refusals of `open_data_dir` for who only reads; nothing is made or written."""
    _owned(data_dir, configuration)
    _has_format(data_dir)


def _write(path: Path, text: str) -> None:
    """Write a whole file or none: half of one, left by a kill, would shut the folder for good."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text)
    aside.replace(path)


def _has_format(data_dir: Path) -> bool:
    path = data_dir / FORMAT_FILE
    if not path.exists():
        return False
    found = path.read_text().strip()
    if found.isdecimal() and int(found) < FORMAT:
        raise DataDirError(
            f"{data_dir} has the older format {found}, this version reads format {FORMAT}. Move "
            f"its folder lancedb and its file {FORMAT_FILE} away and run `codesearch index`: the "
            "tables are made anew, and what results.db holds is not paid for again."
        )
    if found != str(FORMAT):
        raise DataDirError(
            f"{data_dir} has format {found or 'unknown'}, this version reads format {FORMAT}. "
            "Upgrade codesearch, or set data_dir to another folder."
        )
    return True


def _owned(folder: Path, configuration: Path) -> bool:
    path = folder / OWNER_FILE
    owner = Path(path.read_text().strip()) if path.exists() else None
    if owner == configuration:
        return True
    # A configuration that moved leaves its old path behind; one that still exists keeps its folder.
    if owner is not None and owner.exists():
        if configuration.exists() and owner.samefile(configuration):
            return True  # the same file, reached by a link
        raise DataDirError(
            f"{folder} belongs to {owner}. Give {configuration} a data_dir and a dagster_home "
            "of its own."
        )
    return False


@contextmanager
def lock(data_dir: Path, name: str, *, wait: float = 0) -> Iterator[None]:
    """Hold the lock `name` under `data_dir`, waiting at most `wait` seconds for it.

    Raises Busy, naming the holder, when somebody else has it. The lock ends with its process.
    """
    folder = data_dir / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / f"{name}.holder"
    guard = FileLock(folder / f"{name}.lock")
    try:
        guard.acquire(timeout=wait)
    except Timeout:
        who = holder.read_text().strip() if holder.exists() else "another process"
        raise Busy(f"{name} is being worked on by {who}; try again when it has ended") from None
    try:
        holder.write_text(_this_process())
        yield
    finally:
        guard.release()


def _this_process() -> str:
    import socket

    return f"process {os.getpid()} on {socket.gethostname()}"


def run_lock(run_id: str) -> str:
    """The name of the lock that a run of Dagster holds from its beginning to its end."""
    return f"run.{run_id}"


def forget_lock(data_dir: Path, name: str) -> None:
    """Delete the files of a lock that nobody will ask for again; where that cannot be, they lie."""
    for kind in ("lock", "holder"):
        with suppress(OSError):
            (data_dir / LOCKS / f"{name}.{kind}").unlink()


def is_locked(data_dir: Path, name: str) -> bool:
    """Whether somebody holds the lock `name` right now."""
    guard = FileLock(data_dir / LOCKS / f"{name}.lock")
    if not Path(guard.lock_file).exists():
        return False
    try:
        guard.acquire(timeout=0)
    except Timeout:
        return True
    guard.release()
    return False


def modified(file: Path) -> float | None:
    """When a file was written, in seconds since the epoch; None where a writer has removed it."""
    with suppress(FileNotFoundError):
        return file.stat().st_mtime
    return None


def require_space(folder: Path, needed: int) -> None:
    """Raise DataDirError unless the disk of `folder` has `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataDirError(
            f"this run needs about {needed / 1e6:,.0f} MB under {folder} and {free / 1e6:,.0f} MB "
            "are free. Free space, or set data_dir to another disk; nothing was written."
        )


_TROUBLE = {
    "no space left": "The disk of data_dir is full. Free space, or set data_dir to another disk; "
    "what was written stays, and the next run goes on from there.",
    "disk is full": "The disk of data_dir is full. Free space, or set data_dir to another disk; "
    "what was written stays, and the next run goes on from there.",
    "disk quota exceeded": "The disk quota of data_dir is used up. Free space, or set data_dir "
    "to another disk; the next run goes on from there.",
    "read-only file system": "data_dir lies on a read-only file system. Remount it writable, or "
    "set data_dir to another folder.",
    "readonly database": "results.db cannot be written. Make data_dir writable.",
    "permission denied": "data_dir cannot be written: permission denied. Make it writable for this "
    "user.",
    "unable to open database file": "A database under data_dir or dagster_home cannot be opened. "
    "Make both folders writable, and free space if their disk is full.",
    # SQLite says so of a full disk when it cannot map its shared memory.
    "disk i/o error": "results.db or a database of dagster_home could not be read or written. "
    "Free space if their disk is full, else check the disk, and run again.",
    "database is locked": "results.db is locked by another process. Run again when it has ended.",
    "disk image is malformed": "results.db is damaged. Restore it from a backup, or move it away "
    "to start without what was paid for.",
    "file is not a database": "results.db is damaged. Restore it from a backup, or move it away "
    "to start without what was paid for.",
    "too many open files": "Too many files are open. Raise the limit (ulimit -n) and run again.",
}


def storage_trouble(message: str) -> str | None:
    """What to do about a storage error, by the words any library tells it in; None for others."""
    lowered = message.lower()
    return next((advice for words, advice in _TROUBLE.items() if words in lowered), None)
