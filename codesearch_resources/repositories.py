"""Git repositories, local or behind a URL: where their branch is, what a commit holds, its blobs.

Everything is read from the object database, never from a work tree: what is indexed is what was
committed. The repository's own configuration decides nothing but where its refs are, so a
repository of another owner is read as well, without `safe.directory`: that rule protects from
programs a foreign configuration names, and nothing here starts one.
"""

import os
import posixpath
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from codesearch_resources import git
from codesearch_resources.discovery import discover, slug, unique_slugs
from codesearch_resources.git import GitError, Unreachable, check_git, redact
from codesearch_resources.snapshots import (
    Entry,
    Snapshot,
    is_lfs_pointer,
    parse_commit,
    parse_tree,
)

__all__ = [
    "Entry",
    "GitError",
    "Repository",
    "Snapshot",
    "Unreachable",
    "check_git",
    "discover",
    "is_lfs_pointer",
    "redact",
    "slug",
    "unique_slugs",
]

_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NO_REF_NAME = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{")
_TIP = "refs/codesearch/tip"


@dataclass(frozen=True)
class Repository:
    """A repository by `path` (work tree, linked worktree or bare) or by `url`, one of the two.

    branch: a branch, remote-tracking branch, tag or full commit id; None: its HEAD.
    root: only this folder, posix, "" for all.
    mirrors: folder for the bare mirrors of URLs, `<name>.git` each.
    Errors never show credentials, and neither does repr().
    """

    name: str
    path: Path | None = None
    url: str | None = field(default=None, repr=False)
    branch: str | None = None
    root: str = ""
    mirrors: Path | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.url is None):
            raise ValueError(f"{self.name}: a repository has either a path or a url")
        if self.url is not None and self.mirrors is None:
            raise ValueError(f"{self.name}: a repository with a url needs a folder for its mirror")

    @property
    def display_url(self) -> str:
        """Where it is, fit to be shown: the redacted URL, or the path."""
        return redact(self.url) if self.url is not None else str(self.path)

    def head(self, timeout: float = 10) -> str:
        """The commit of the branch, or of HEAD; "" when there are no commits.

        For a URL the remote is asked and nothing is fetched. Raises GitError when it is not a
        repository or the branch is not there, Unreachable after `timeout` seconds.
        """
        if self.url is not None:
            return self._remote_tip(timeout)[0]
        return self._local_tip(timeout)

    def fetch(self, timeout: float = 1800) -> None:
        """Create the mirror of a URL, or bring it up to date; nothing to do for a path.

        Only the history of the branch is fetched, and of it what is new; a forced push is
        followed. Raises GitError when the branch is gone, Unreachable after `timeout` seconds.
        """
        if self.url is None:
            return
        from filelock import FileLock, Timeout

        deadline = time.monotonic() + timeout
        mirror = self._mirror
        mirror.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(mirror.with_suffix(".lock"), timeout=timeout):
                commit, ref = self._remote_tip(min(60, deadline - time.monotonic()))
                if commit:
                    self._prepare_mirror(len(commit))
                    self._fetch_ref(ref, deadline - time.monotonic())
        except Timeout:
            raise Unreachable(
                f"{self._where}: another process has been fetching it for {timeout:.0f} seconds"
            ) from None

    def snapshot(self, commit: str) -> Snapshot:
        """Everything under `root` at `commit` (a full id), sorted by path, paths from the top.

        Raises GitError when the commit or one of its folders is not in the object database, or
        `root` is no folder there.
        """
        if not commit:
            return Snapshot("", None, "", ())
        if not _ID.fullmatch(commit):
            raise ValueError(f"not a full commit id: {commit!r}")
        with self._reading(commit) as env:
            raw = git.run(["cat-file", "commit", commit], env=env, where=self._where)
            if raw.code:
                raise GitError(
                    f"{self._where}: commit {commit[:12]} is not there ({raw.reason}); "
                    "it was rewritten, or the clone is shallow or damaged: run it again, or fetch"
                )
            committed_at, subject = parse_commit(raw.output)
            return Snapshot(commit, committed_at, subject, self._entries(commit, env))

    def blobs(self, ids: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """(id, content) for each id, in their order, one at a time in memory.

        None for what is missing, corrupt or not a blob; it costs none of the others. The caller
        leaves out what is too large for memory, by `Entry.size`.
        """
        wanted = list(ids)
        if not wanted:
            return
        for one in wanted:
            if not _ID.fullmatch(one):
                raise ValueError(f"not an object id: {one!r}")
        done = 0
        with self._reading(wanted[0]) as env:
            while done < len(wanted):
                for data in self._until_it_dies(wanted[done:], env):
                    yield wanted[done], data
                    done += 1

    def _entries(self, commit: str, env: dict[str, str]) -> tuple[Entry, ...]:
        root = posixpath.normpath(self.root or ".")
        root = "" if root == "." else root
        if root.startswith(("/", "../")) or root == "..":
            raise GitError(f"{self._where}: root {self.root!r} leads out of the repository")
        listed = git.run(
            ["ls-tree", "-r", "-l", "-z", "--full-tree", f"{commit}:{root}"],
            env=env,
            where=self._where,
        )
        if not listed.code:
            return parse_tree(listed.output, f"{root}/" if root else "")
        if root and ("not a tree object" in listed.errors or "Not a valid object" in listed.errors):
            raise GitError(f"{self._where}: root {root!r} is no folder at commit {commit[:12]}")
        raise GitError(
            f"{self._where}: the folders of commit {commit[:12]} cannot be read "
            f"({listed.reason}); it needs a clone that has all folders, and whole ones: `git fsck`"
        )

    def _until_it_dies(self, ids: list[str], env: dict[str, str]) -> Iterator[bytes | None]:
        """The answers of one process: to all ids, or up to the one that it died of."""
        batch = git.Batch(ids, env)
        try:
            for number, one in enumerate(ids):
                answered, data = batch.read()
                if not answered and number == 0 and one not in (said := batch.messages()):
                    raise GitError(f"{self._where}: git cannot read its objects: {said.strip()}")
                yield data
                if not answered:
                    return
        finally:
            batch.close()

    # Where it is

    @property
    def _where(self) -> str:
        return f"{self.name} ({self.display_url})"

    @property
    def _mirror(self) -> Path:
        assert self.mirrors is not None
        return Path(os.path.abspath(self.mirrors)) / f"{self.name}.git"

    def _git_dir(self) -> Path:
        if self.path is None:
            if found := git.git_dir(self._mirror):
                return found
            raise GitError(f"{self._where}: it has not been fetched yet; index it again")
        found = git.git_dir(self.path)
        if found:
            return found
        top = next((p for p in Path(os.path.abspath(self.path)).parents if git.git_dir(p)), None)
        if top:
            inside = Path(os.path.abspath(self.path)).relative_to(top).as_posix()
            hint = f"it is a folder in one; set `path: {top}` and `root: {inside}`"
        elif not os.path.lexists(self.path):
            hint = "there is no such folder"
        elif not os.access(self.path, os.R_OK | os.X_OK):
            hint = "this account may not read it"
        else:
            hint = "correct the path, or make it one with: git init"
        raise GitError(f"{self._where}: not a git repository; {hint}")

    @contextmanager
    def _reading(self, an_id: str) -> Iterator[dict[str, str]]:
        objects = git.common_dir(self._git_dir()) / "objects"
        with git.object_environment(objects, len(an_id)) as env:
            yield env

    # The tip, here

    def _local_tip(self, timeout: float) -> str:
        if self.branch is None:
            names = ["HEAD"]
        else:
            names = [self.branch] if _ID.fullmatch(self.branch) else _candidates(self.branch)
        asked = "".join(f"{name}^{{commit}}\n" for name in names)
        deadline = time.monotonic() + timeout
        answer = self._ask(["cat-file", "--batch-check"], asked, timeout)
        for line in answer.splitlines():
            words = line.split(" ")
            if len(words) == 3 and words[1] == "commit":
                return words[0]
        present = self._ask(
            ["for-each-ref", "--format=%(refname)"], "", deadline - time.monotonic()
        ).split("\n")
        return self._no_tip([ref for ref in present if ref])

    def _ask(self, arguments: list[str], stdin: str, timeout: float) -> str:
        done = git.run(
            ["--git-dir", str(self._git_dir()), *arguments],
            env=git.local_environment(),
            where=self._where,
            stdin=stdin.encode(),
            timeout=timeout,
        )
        if done.code:
            raise GitError(f"{self._where}: {done.reason}; `git fsck` may tell more")
        return done.output.decode("utf-8", "backslashreplace")

    def _no_tip(self, refs: list[str]) -> str:
        """What it means that the branch, or HEAD, leads nowhere, where `refs` is all there is."""
        if not refs and not (self.branch and _ID.fullmatch(self.branch)):
            return ""
        branches = [r.removeprefix("refs/heads/") for r in refs if r.startswith("refs/heads/")]
        some = (", ".join(branches[:8]) or "none") + (", …" if len(branches) > 8 else "")
        if self.branch is None:
            raise GitError(
                f"{self._where}: its HEAD leads to no commit; set `branch:` (there are: {some}), "
                "or ask `git fsck` for damage"
            )
        if not set(refs).isdisjoint(_candidates(self.branch)):
            raise GitError(f"{self._where}: the commit of {self.branch!r} is missing; `git fsck`")
        raise GitError(
            f"{self._where}: no branch, tag or commit {self.branch!r}; its branches are: {some}"
        )

    # The tip, there

    def _remote_tip(self, timeout: float) -> tuple[str, str]:
        """(commit, the ref to fetch for it); ("", "") for a remote without commits."""
        if self.branch and _ID.fullmatch(self.branch):
            return self.branch, self.branch
        deadline = time.monotonic() + timeout
        names = ["HEAD"] if self.branch is None else _candidates(self.branch)
        wanted = [*names, *(f"{n}^{{}}" for n in names if n.startswith("refs/tags/"))]
        found = self._list_remote(wanted, timeout)
        for name in names:
            if name in found:
                return found.get(f"{name}^{{}}", found[name]), name
        return self._no_tip(list(self._list_remote([], deadline - time.monotonic()))), ""

    def _list_remote(self, patterns: list[str], timeout: float) -> dict[str, str]:
        done = self._talk(["ls-remote", git.REMOTE, *patterns], timeout)
        lines = done.output.decode("utf-8", "backslashreplace").split("\n")
        return {name: one for one, tab, name in (line.partition("\t") for line in lines) if tab}

    def _talk(self, arguments: list[str], timeout: float) -> git.Finished:
        assert self.url is not None
        env = git.remote_environment(self.url)
        done = git.run(arguments, env=env, where=self._where, timeout=timeout, url=self.url)
        if done.code:
            raise git.remote_failure(done, self._where)
        return done

    # The mirror

    def _prepare_mirror(self, hex_length: int) -> None:
        """An empty mirror where there is none, or one of the other hash; leftovers swept up."""
        mirror, kind = self._mirror, "sha256" if hex_length == 64 else "sha1"
        env = git.local_environment()
        asked = ["--git-dir", str(mirror), "rev-parse", "--show-object-format"]
        if git.run(asked, env=env, where=self._where).output.strip() == kind.encode():
            _sweep(mirror)
            return
        shutil.rmtree(mirror, ignore_errors=True)
        making = mirror.with_suffix(".new")
        shutil.rmtree(making, ignore_errors=True)
        made = git.run(
            [
                "-c",
                f"core.hooksPath={os.devnull}",
                "init",
                "--quiet",
                "--bare",
                "--template=",
                f"--object-format={kind}",
                str(making),
            ],
            env=env,
            where=self._where,
        )
        if made.code:
            raise GitError(f"{self._where}: no mirror at {mirror}: {made.reason}")
        making.rename(mirror)

    def _fetch_ref(self, ref: str, timeout: float) -> None:
        flags = ["--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"]
        mirror = ["--git-dir", str(self._mirror)]
        self._talk([*mirror, "fetch", *flags, git.REMOTE, f"+{ref}:{_TIP}"], timeout)


def _candidates(branch: str) -> list[str]:
    """The refs a configured branch may mean, the likeliest first."""
    if _NO_REF_NAME.search(branch):
        return []
    if branch.startswith("refs/"):
        return [branch]
    places = ("refs/heads/", "refs/remotes/", "refs/remotes/origin/", "refs/tags/")
    return [place + branch for place in places]


def _sweep(mirror: Path) -> None:
    """Remove what a killed fetch left; whoever holds the mirror's lock is alone in it."""
    for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*"):
        for left in mirror.glob(pattern):
            left.unlink(missing_ok=True)
