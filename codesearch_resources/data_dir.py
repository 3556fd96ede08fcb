"""The data folder of one configuration: its format, its owner, its locks, its logs.

Two configurations never share a data folder or a Dagster home: the second would remove what it
does not know. Each folder therefore names the configuration it belongs to.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

FORMAT = 1
FORMAT_FILE = "format"
OWNER_FILE = "configuration"
LOCKS = "locks"
LOGS = "logs"
LOG_BYTES = 1_000_000


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
        for folder in (data_dir, dagster_home):
            folder.mkdir(parents=True, exist_ok=True)
            _check_owner(folder, configuration)
        _check_format(data_dir)
    except OSError as error:
        raise DataDirError(
            f"cannot write {error.filename or data_dir}: {error.strerror}. "
            "Make the folder writable, or set data_dir and dagster_home to folders that are."
        ) from error


def _check_format(data_dir: Path) -> None:
    path = data_dir / FORMAT_FILE
    if not path.exists():
        path.write_text(f"{FORMAT}\n")
        return
    found = path.read_text().strip()
    if found != str(FORMAT):
        raise DataDirError(
            f"{data_dir} has format {found or 'unknown'}, this version reads format {FORMAT}. "
            "Upgrade codesearch, or set data_dir to another folder."
        )


def _check_owner(folder: Path, configuration: Path) -> None:
    path = folder / OWNER_FILE
    owner = Path(path.read_text().strip()) if path.exists() else None
    if owner == configuration:
        return
    # A configuration that moved leaves its old path behind; one that still exists keeps its folder.
    if owner is not None and owner.exists():
        raise DataDirError(
            f"{folder} belongs to {owner}. Give {configuration} a data_dir and a dagster_home "
            "of its own."
        )
    path.write_text(f"{configuration}\n")


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
    import os
    import socket

    return f"process {os.getpid()} on {socket.gethostname()}"


def log_to_file(data_dir: Path) -> None:
    """Send this process's log to a bounded file under `data_dir`, when that can be written."""
    import logging
    from logging.handlers import RotatingFileHandler

    try:
        (data_dir / LOGS).mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(
            data_dir / LOGS / "codesearch.log", maxBytes=LOG_BYTES, backupCount=3, delay=True
        )
    except OSError:
        return  # a read-only folder can still be searched
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.getLogger("codesearch").addHandler(handler)
    logging.getLogger("codesearch").setLevel(logging.INFO)
