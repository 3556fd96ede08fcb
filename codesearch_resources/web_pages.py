"""Where a repository and its commits can be looked at in a browser, told by a remote's URL."""

import re
from urllib.parse import urlsplit

from codesearch_resources import git
from codesearch_resources.git import redact
from codesearch_resources.repositories import Repository

_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[\w.-]+):(?!/)(?P<path>.+)", re.ASCII)  # git@host:path


def web_page(url: str) -> str:
    """The page that forges show behind the URL of a remote; "" where there can be none.

    Never with a login, whatever the URL has.

    >>> web_page("git@example.com:team/api.git")
    'https://example.com/team/api'
    """
    shown = redact(url)
    if "://" in shown:
        try:
            parts = urlsplit(shown)
        except ValueError:  # half a bracket, say
            return ""
        scheme, host, path = parts.scheme, parts.netloc.rpartition("@")[2], parts.path
        if scheme == "ssh":
            scheme, host = "https", host.partition(":")[0]
    elif found := _SCP.fullmatch(shown):
        scheme, host, path = "https", found["host"], found["path"]
    else:
        return ""
    path = path.strip("/").removesuffix(".git")
    return f"{scheme}://{host}/{path}" if scheme in ("http", "https") and host and path else ""


def page_of(repository: Repository) -> str:
    """The page of a repository, of its remote `origin` where it lies here; "" for none."""
    if repository.url is not None:
        return web_page(repository.url)
    assert repository.path is not None
    place = git.git_dir(repository.path)
    if place is None:
        return ""
    asked = ["--git-dir", str(place), "config", "--local", "--get", "remote.origin.url"]
    done = git.run(asked, env=git.local_environment(), where=repository.name)
    return web_page(done.output.decode("utf-8", "replace").strip())
