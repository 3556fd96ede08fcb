"""A run that was told to end ends, although Python may lose the word of it."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

AGAIN = 0.05  # seconds, so that what lost the interrupt is over when it is said again
INTERRUPTS = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)


@contextmanager
def never_lost() -> Iterator[None]:
    """Say an interrupt again that was raised where Python only prints exceptions.

    Dagster ends a step by an exception from its signal handler. In the callback of a weak
    reference or in a finalizer, where garbage collection may stand at any moment, that exception
    is ignored and the run would go on to its end.
    """
    before = sys.unraisablehook

    def hook(lost: Any) -> None:
        if not issubclass(lost.exc_type, INTERRUPTS):
            before(lost)
            return
        again = threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
