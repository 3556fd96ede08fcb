"""What was done, when and how it went: a bounded log file under the data folder."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from codesearch_resources.git import scrub

LOGGER = "codesearch"
LOGS = "logs"
LOG_FILE = "codesearch.log"
LOG_BYTES = 1_000_000
FORM = "%(asctime)s %(levelname)s %(message)s"


class _WithoutSecrets(logging.Formatter):
    """One form for every line, traces included: no URL keeps its credentials."""

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record))


class _LogFile(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk costs the log, not the answer."""


def log_to_file(data_dir: Path) -> None:
    """Send this process's log to `logs/codesearch.log` below `data_dir`, if that can be written."""
    try:
        (data_dir / LOGS).mkdir(parents=True, exist_ok=True)
        file = data_dir / LOGS / LOG_FILE
        handler = _LogFile(file, maxBytes=LOG_BYTES, backupCount=3, encoding="utf-8")
    except OSError:
        return  # a read-only folder can still be searched
    _replace(handler)


def log_to_terminal() -> None:
    """Send this process's log to standard error."""
    _replace(logging.StreamHandler())


def end_logs() -> None:
    """Close what was begun: one process may run several commands."""
    logger = logging.getLogger(LOGGER)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def _replace(handler: logging.Handler) -> None:
    """At most one handler of a kind: one process may use several configurations in turn."""
    logger = logging.getLogger(LOGGER)
    for old in [old for old in logger.handlers if type(old) is type(handler)]:
        logger.removeHandler(old)
        old.close()
    handler.setFormatter(_WithoutSecrets(FORM))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
