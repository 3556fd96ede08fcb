"""The git command line: which one, in what environment, for how long, and what its failures mean.

    GitError            git is missing or too old, or the repository cannot give what was asked
    └── Unreachable     a remote (or a hanging disk) did not answer, refused, or wants a login

Rules every call keeps: git never prompts, never runs a hook or a filter, and reads fetch nothing.
A URL travels in the environment, never in our argument list, and is redacted in every message.
"""

import functools
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MINIMUM_VERSION = (2, 31)  # GIT_CONFIG_COUNT, which carries the URL
REMOTE = "codesearch"  # the name the URL has in the configuration of one call

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
# What redirects git to another repository, and traces, which would print headers into our messages.
_STRIPPED = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES"
    r"|NAMESPACE|PREFIX|GRAFT_FILE|SHALLOW_FILE|REPLACE_REF_BASE|CONFIG|IMPLICIT_WORK_TREE"
    r"|CEILING_DIRECTORIES|TRACE.*)"
)
_OWN_CONFIG = re.compile(r"GIT_CONFIG_(PARAMETERS|COUNT|KEY_\d+|VALUE_\d+|GLOBAL|SYSTEM)")


class GitError(Exception):
    """A git command failed: what, where (name or redacted URL), and what to do about it."""


class Unreachable(GitError):
    """It did not answer in time, refused, or wants a login that git does not have."""


# Read from top to bottom, the first match speaks: (in git's message, what to do, is it the way?)
_ADVICE: tuple[tuple[str, str, bool], ...] = (
    (
        r"dubious ownership",
        "it belongs to another user; use `path:` for it, or run: "
        "git config --global --add safe.directory <that folder>",
        False,
    ),
    (r"No space left on device", "free some disk space", False),
    (
        r"bad object|corrupt|unable to read|did not send all necessary objects",
        "if its mirror is damaged, remove that folder: the next run makes it anew",
        False,
    ),
    (
        r"unadvertised object|not our ref",
        "the remote does not give this commit; set `branch:` to a branch or tag",
        False,
    ),
    (r"couldn't find remote ref", "the branch is gone; set another `branch:`", False),
    (
        r"Authentication failed|could not read (Username|Password)|terminal prompts disabled"
        r"|Permission denied|Host key verification failed|\b40[13]\b",
        "give git the login (credential helper, ssh agent, known_hosts) and try `git ls-remote`",
        True,
    ),
    (
        r"not found|does not appear to be a git repository|does not exist",
        "check the URL, and that this account may see it",
        True,
    ),
    (r"", "check the URL and the network", True),
)


@dataclass(frozen=True, slots=True)
class Finished:
    """A git process that ended by itself. `errors`: its messages, without secrets."""

    code: int
    output: bytes
    errors: str

    @property
    def reason(self) -> str:
        """The line of its messages that says why."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:"))]
        return (telling or lines or [f"git ended with code {self.code}"])[0]


def redact(url: str) -> str:
    """The URL as it may be shown: no user, no password, no query, no fragment."""
    scheme, mark, rest = url.partition("://")
    if not mark:  # a path, or git@host:path, where the user is no secret
        user, at, host = url.partition("@")
        return host if at and ":" in user else url
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        authority = authority.rpartition("@")[2]
    elif "@" in path and re.search(r":(?!\d*$)", authority):  # a password with a slash in it
        authority, slash, path = path.rpartition("@")[2].partition("/")
    return scheme + mark + re.split(r"[?#]", authority + slash + path, maxsplit=1)[0]


def scrub(text: str, url: str | None = None) -> str:
    """A message of git without what must not be shown: every URL in it redacted."""
    if url:
        text = text.replace(url, redact(url))
        userinfo = re.match(r"([^/]*)://(.*)@", url)
        if userinfo:
            user, _, password = userinfo[2].partition(":")
            secret = password or (user if userinfo[1].startswith("http") else "")  # a bare token
            text = text.replace(secret, "***") if secret else text
    return _URL.sub(lambda found: redact(found[0]), text)


def check_git() -> None:
    """Raise GitError, with the version needed, when git is missing, does not run or is too old."""
    _executable(os.environ.get("PATH"))


@functools.lru_cache(maxsize=8)
def _executable(search_path: str | None) -> str:
    needed = ".".join(map(str, MINIMUM_VERSION))
    found = shutil.which("git", path=search_path)
    if found is None:
        raise GitError(f"git is not installed or not on PATH; install git {needed} or newer")
    try:
        answer = subprocess.run(
            [found, "version"], capture_output=True, timeout=30, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"{found} does not run; install git {needed} or newer") from error
    text = answer.stdout.decode("utf-8", "replace").strip()
    version = re.search(r"git version (\d+)\.(\d+)", text)
    if version is None:
        said = (text or answer.stderr.decode("utf-8", "replace").strip())[:200]
        raise GitError(f"{found} does not say its version ({said}); install git {needed} or newer")
    if (int(version[1]), int(version[2])) < MINIMUM_VERSION:
        raise GitError(f"{found} is too old ({text}); git {needed} or newer is needed")
    return found


def git_dir(path: Path) -> Path | None:
    """The absolute git directory of the repository whose top is `path`; None when it is none."""
    top = Path(os.path.abspath(path))
    inner = top / ".git"
    try:
        if inner.is_file():  # a linked worktree or a submodule
            said = inner.read_text("utf-8", "surrogateescape")
            if not said.startswith("gitdir: "):
                return None
            inner = Path(os.path.realpath(top / said[8:].rstrip("\r\n")))
        for place in (inner, top):
            if (place / "HEAD").is_file() and (common_dir(place) / "objects").is_dir():
                return place
    except OSError:  # no permission, a disk that went away
        pass
    return None


def common_dir(place: Path) -> Path:
    """Where a git directory has its objects: a linked worktree has them in another."""
    pointer = place / "commondir"
    if not pointer.is_file():
        return place
    return Path(os.path.realpath(place / pointer.read_text("utf-8", "surrogateescape").strip()))


def _base_environment() -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not _STRIPPED.fullmatch(k)}
    return env | {
        "LC_ALL": "C",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",  # empty, not absent: git would go on to core.askPass and SSH_ASKPASS
        "SSH_ASKPASS_REQUIRE": "never",
        "GCM_INTERACTIVE": "never",
    }


def local_environment() -> dict[str, str]:
    """For commands in a repository of the user's: every transport forbidden.

    A partial clone asks its remote for what it lacks. GIT_NO_LAZY_FETCH (git 2.45) stops that with
    an answer; before it, the forbidden transport stops it with an error.
    """
    return _base_environment() | {
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "",
    }


@contextmanager
def object_environment(objects: Path, hex_length: int) -> Iterator[dict[str, str]]:
    """For reading objects out of the folder `objects`, and nothing else of its repository.

    The git directory is an empty one of our own, so the repository's configuration is not read:
    no promisor remote (a missing blob is an answer, on every git, and no network is touched), no
    programs it names, no replaced objects, and no question of who owns it.
    `hex_length` of its object ids: 40 for SHA-1, 64 for SHA-256.
    """
    with tempfile.TemporaryDirectory(prefix="codesearch-git-") as folder:
        home = Path(folder)
        (home / "refs").mkdir()
        (home / "HEAD").write_text("ref: refs/heads/none\n")
        config = "[core]\n\tbare = true\n\trepositoryformatversion = "
        config += "1\n[extensions]\n\tobjectFormat = sha256\n" if hex_length == 64 else "0\n"
        (home / "config").write_text(config)
        env = {k: v for k, v in local_environment().items() if not _OWN_CONFIG.fullmatch(k)}
        yield env | {
            "GIT_DIR": folder,
            "GIT_OBJECT_DIRECTORY": str(objects),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
        }


def remote_environment(url: str) -> dict[str, str]:
    """For talking to `url`, which the command calls `codesearch`: the user's own configuration,
    credential helpers, agents and proxies hold, and nothing asks."""
    env = _base_environment()
    env.setdefault("GIT_HTTP_LOW_SPEED_LIMIT", "100")  # bytes a second, for
    env.setdefault("GIT_HTTP_LOW_SPEED_TIME", "60")  # seconds: stalled
    if "GIT_SSH" not in env:  # whatever the URL: `insteadOf` may turn it into an ssh one
        command = env.get("GIT_SSH_COMMAND") or _ssh_command() or "ssh"
        env["GIT_SSH_COMMAND"] = _without_questions(command)
    settings = {
        f"remote.{REMOTE}.url": url,
        "core.hooksPath": os.devnull,
        "credential.interactive": "false",
        "gc.autoDetach": "false",
        "maintenance.autoDetach": "false",
    }
    taken = env.get("GIT_CONFIG_COUNT", "")
    start = int(taken) if taken.isdigit() else 0
    for number, (key, value) in enumerate(settings.items(), start):
        env[f"GIT_CONFIG_KEY_{number}"] = key
        env[f"GIT_CONFIG_VALUE_{number}"] = value
    env["GIT_CONFIG_COUNT"] = str(start + len(settings))
    return env


def _ssh_command() -> str:
    asked = run(["config", "--get", "core.sshCommand"], env=local_environment(), where="git config")
    return asked.output.decode("utf-8", "replace").strip()


def _without_questions(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    program = next((word for word in words if "=" not in word), "")
    return f"{command} -o BatchMode=yes" if Path(program).name == "ssh" else command


def run(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    where: str,
    stdin: bytes = b"",
    timeout: float = 600,
    url: str | None = None,
) -> Finished:
    """Run git to its end. Raises Unreachable after `timeout` seconds, its whole group killed."""
    process = start(arguments, env=env, stderr=subprocess.PIPE)
    try:
        output, errors = process.communicate(stdin, timeout=max(timeout, 0.01))
    except subprocess.TimeoutExpired:
        stop(process)
        raise Unreachable(
            f"{where}: no answer within {timeout:.3g} seconds; check the connection and try again"
        ) from None
    except BaseException:
        stop(process)
        raise
    return Finished(process.returncode, output, scrub(errors.decode("utf-8", "replace"), url))


def start(
    arguments: Sequence[str], *, env: Mapping[str, str], stderr: int
) -> subprocess.Popen[bytes]:
    """Start git in a session of its own: no terminal to ask on, and a group to kill as one."""
    try:
        return subprocess.Popen(
            [_executable(os.environ.get("PATH")), *arguments],
            env=env,
            cwd="/",  # the caller's folder may be gone, or a repository itself
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            bufsize=1 << 18,
            start_new_session=True,
        )
    except OSError as error:
        raise GitError(f"git does not start: {error.strerror}; try `git version`") from error


def stop(process: subprocess.Popen[bytes], grace: float = 1.0) -> None:
    """End git and everything it started: asked first, so that it removes its lock files."""
    if process.poll() is None:
        for number in (signal.SIGTERM, signal.SIGKILL):  # the second is for what ignored the first
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with suppress(OSError):
                pipe.close()


def remote_failure(finished: Finished, where: str) -> GitError:
    """The error for a command that a remote, or the way to it, made fail."""
    advice, is_way = next(
        (advice, is_way)
        for pattern, advice, is_way in _ADVICE
        if re.search(pattern, finished.errors)
    )
    kind = Unreachable if is_way else GitError
    return kind(f"{where}: {finished.reason}; {advice}")


class Batch:
    """One `cat-file --batch --buffer`: asked for all ids at once, read one by one, in order."""

    def __init__(self, ids: Sequence[str], env: Mapping[str, str]) -> None:
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  a pipe could fill and block
        self._process = start(
            ["cat-file", "--batch", "--buffer"], env=env, stderr=self._messages.fileno()
        )
        self._writer = threading.Thread(target=self._write, args=(ids,), daemon=True)
        self._writer.start()

    def _write(self, ids: Sequence[str]) -> None:
        assert self._process.stdin is not None
        try:
            for first in range(0, len(ids), 1024):
                self._process.stdin.write(("\n".join(ids[first : first + 1024]) + "\n").encode())
            self._process.stdin.close()
        except (OSError, ValueError):  # git has ended, or was stopped
            pass

    def read(self) -> tuple[bool, bytes | None]:
        """(answered, data) for the next id. Not answered: git has died of it."""
        assert self._process.stdout is not None
        head = self._process.stdout.readline()
        if not head.endswith(b"\n"):
            return False, None
        words = head.split()
        if len(words) != 3:  # "<id> missing"
            return True, None
        size = int(words[2])
        data = self._process.stdout.read(size + 1)
        if len(data) != size + 1:
            return False, None
        return True, data[:-1] if words[1] == b"blob" else None

    def messages(self) -> str:
        """What git complained of, after it has died."""
        self._process.wait()
        self._messages.seek(0)
        return scrub(self._messages.read(100_000).decode("utf-8", "replace"))

    def close(self) -> None:
        """End it, wherever it is."""
        stop(self._process)
        self._writer.join(1)
        self._messages.close()
