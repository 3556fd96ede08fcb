"""The Dagster UI over one configuration: `codesearch ui`."""

import os
import signal
import sys
from typing import NoReturn

from codesearch_assets.runs import prepare_home
from codesearch_resources.settings import Settings
from codesearch_resources.shipped import shipped

HOST = "127.0.0.1"  # the UI has no login: it is for this machine only


def serve(settings: Settings, port: int) -> NoReturn:
    """Become `dagster dev` with this configuration's instance and workspace; never returns."""
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(prepare_home(settings)),
        "CODESEARCH_CONFIG": str(settings.file),
    }
    arguments = ["dev", "--workspace", str(shipped("workspace.yaml"))]
    arguments += ["--host", HOST, "--port", str(port)]
    # Dagster answers SIGTERM as it answers SIGINT, which a script that starts us with `&` has had
    # ignored: then nothing but SIGKILL would end it. The new process gets the default back.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.execve(sys.executable, [sys.executable, "-m", "dagster", *arguments], environment)
