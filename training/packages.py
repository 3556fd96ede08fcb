"""The packages that are learnt from: fetched by name, version and hash, each under a known licence.

`packages.tsv` is the list. Adding to it is `python -m training pin REGISTRY NAME...`, which fetches
the newest version that the registry has, reads its licence out of the package itself and leaves out
what is not permissive.
"""

import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import groupby
from pathlib import Path

LIST = Path(__file__).parent / "packages.tsv"
# Every tenth package, by the hash of its name, is never learnt from and judges what was learnt.
HELD_OUT = 10
MOST_FILE_BYTES = 100_000
AT_ONCE = 50  # packages that one call of a client is asked for
MOST_NAMED = 5
_ARCHIVE = re.compile(r"\.(?:whl|tgz|deb|tar\.\w+)$")

# A licence file's own words, first match wins; a copyleft text is named before what it may quote.
_TEXTS = (
    ("copyleft", r"GNU (?:LESSER |AFFERO |LIBRARY )?GENERAL PUBLIC|Mozilla Public License"
                 r"|Eclipse Public|European Union Public|Server Side Public|Creative Commons"),
    ("Apache-2.0", r"Apache License,?\s+Version 2\.0|apache\.org/licenses/LICENSE-2\.0"),
    ("BSL-1.0", r"Boost Software License"),
    ("PostgreSQL", r"PostgreSQL Database Management System"),
    ("PSF-2.0", r"PYTHON SOFTWARE FOUNDATION LICENSE"),
    ("MIT", r"Permission is hereby granted, free of charge, to any person obtaining"),
    ("ISC", r"Permission to use, copy, modify,? and(?:/or)? distribute this software"),
    ("BSD-3-Clause", r"Redistribution and use in source and binary forms[\s\S]*"
                     r"(?:Neither the name|endorse or promote)"),
    ("BSD-2-Clause", r"Redistribution and use in source and binary forms"),
    ("Zlib", r"This software is provided 'as-is', without any express or implied\s+warranty"),
)  # fmt: skip
PERMISSIVE = frozenset(name for name, _ in _TEXTS if name != "copyleft")
# The same as Debian's machine-readable copyright files name them.
_STATED = {
    "expat": "MIT", "mit": "MIT", "mit/x11": "MIT", "apache-2.0": "Apache-2.0",
    "apache-2": "Apache-2.0", "bsd-3-clause": "BSD-3-Clause", "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clauses": "BSD-3-Clause", "bsd-3-clause-google": "BSD-3-Clause", "isc": "ISC",
    "zlib": "Zlib", "bsl-1.0": "BSL-1.0", "postgresql": "PostgreSQL",
}  # fmt: skip
_ALL_FILES = re.compile(r"^Files:\s*\*\s*$(?:\n.+)*?\nLicense:[ \t]*(.+)", re.MULTILINE)
_LICENCE_FILE = re.compile(r"^(?:licen[cs]e|copying|copyright)(?:[.-]\w+)*$", re.IGNORECASE)


class FetchError(Exception):
    """A package could not be fetched as listed; the message says which and why."""


@dataclass(frozen=True, order=True)
class Package:
    """One line of the list. `sha256` is that of the one archive fetched."""

    registry: str  # pypi, npm, debian (source packages) or deb (packages that ship source)
    name: str
    version: str
    licence: str  # SPDX
    sha256: str

    @property
    def held_out(self) -> bool:
        return hashlib.sha256(self.name.encode()).digest()[0] % HELD_OUT == 0


def listed(file: Path = LIST) -> list[Package]:
    """The packages of the list, in its order."""
    with file.open(newline="", encoding="utf-8") as lines:
        return [Package(*row) for row in list(csv.reader(lines, delimiter="\t"))[1:]]


def write(packages: Iterable[Package], file: Path = LIST) -> None:
    """Write the list, sorted."""
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, delimiter="\t", lineterminator="\n")
        writer.writerow(field.name for field in fields(Package))
        writer.writerows(astuple(package) for package in sorted(packages))


def place(package: Package, folder: Path) -> Path:
    """Where a package's archive is kept."""
    return folder / package.registry / f"{package.sha256}-{_safe(package.name)}"


def fetch(packages: Sequence[Package], folder: Path) -> None:
    """Bring the archives that are not in `folder` yet; one call of a client for many of them.

    Raises FetchError naming those whose registry has no such version, or gives other bytes than
    those listed.
    """
    wrong: list[str] = []
    missing = sorted(p for p in packages if not place(p, folder).exists())
    for registry, group in groupby(missing, key=lambda package: package.registry):
        asked = list(group)
        with tempfile.TemporaryDirectory(dir=_made(folder)) as scratch:
            got = _download(registry, [(p.name, p.version) for p in asked], Path(scratch))
            by_hash = {_sha256(archive): archive for archive in got}
            for package in asked:
                if package.sha256 in by_hash:
                    kept = place(package, folder)
                    shutil.move(by_hash[package.sha256], _made(kept.parent) / kept.name)
                else:
                    wrong.append(f"{registry} {package.name} {package.version}")
    if wrong:
        raise FetchError(
            f"{len(wrong)} packages are not to be had with the hash that is listed: "
            f"{', '.join(wrong[:MOST_NAMED])}"
        )


def pin(registry: str, name: str, folder: Path) -> Package | None:
    """The newest version of a package as a line of the list, or None: not permissive."""
    with tempfile.TemporaryDirectory(dir=_made(folder)) as scratch:
        archives = _download(registry, [(name, "")], Path(scratch))
        if len(archives) != 1:
            raise FetchError(f"{registry} has no {name}, or it is of several archives")
        got = archives[0]
        licence = _licence(got)
        if not PERMISSIVE.issuperset(licence.split(" AND ")):
            return None
        package = Package(registry, name, _version(registry, name, got), licence, _sha256(got))
        kept = place(package, folder)
        shutil.move(got, _made(kept.parent) / kept.name)
    return package


def contents(archive: Path) -> Iterator[tuple[str, bytes]]:
    """The files of an archive, paths without the folder that holds everything; in its order."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if not info.is_dir() and info.file_size <= MOST_FILE_BYTES:
                    yield info.filename, opened.read(info)
        return
    with _tar(archive) as tar:
        for member in tar:
            taken = tar.extractfile(member) if member.isfile() else None
            if taken is not None and member.size <= MOST_FILE_BYTES:
                yield member.name.partition("/")[2] or member.name, taken.read()


def _tar(archive: Path) -> tarfile.TarFile:
    with archive.open("rb") as opened:
        binary_package = opened.read(7) == b"!<arch>"
    if not binary_package:
        return tarfile.open(archive)
    command = ("dpkg-deb", "--fsys-tarfile", str(archive))
    return tarfile.open(
        fileobj=io.BytesIO(subprocess.run(command, capture_output=True, check=True).stdout)
    )


def _licence(archive: Path) -> str:
    """What the package's own licence files say, as SPDX, or "" where that is unclear."""
    found = set()
    for path, data in contents(archive):
        folder, _, file = path.rpartition("/")
        if folder.startswith("usr/share/doc/") and file == "copyright":
            return _stated(data.decode(errors="replace"))
        top = not folder or folder.endswith((".dist-info", "licenses"))
        if top and _LICENCE_FILE.match(file):
            text = data.decode(errors="replace")
            named = next((name for name, said in _TEXTS if re.search(said, text, re.I)), "")
            found.add(named)
    found.discard("")
    return "" if "copyleft" in found else " AND ".join(sorted(found))


def _stated(copyright_file: str) -> str:
    """The licence of all files of a Debian package; of a choice, the first permissive one."""
    found = _ALL_FILES.search(copyright_file)
    choices = re.split(r"\s+or\s+|\s*,\s*", found.group(1).strip().lower()) if found else ()
    return next((_STATED[choice] for choice in choices if choice in _STATED), "")


def _download(registry: str, wanted: Sequence[tuple[str, str]], folder: Path) -> list[Path]:
    """The archives of packages (name, version or "" for the newest) that a registry gave."""
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        command = _command(registry, some, folder)
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if done.returncode:  # one that is missing must not take the others with it
            for one in some:
                subprocess.run(
                    _command(registry, [one], folder), cwd=folder, capture_output=True, check=False
                )
    return sorted(file for file in folder.iterdir() if _ARCHIVE.search(file.name))


def _command(
    registry: str, wanted: Sequence[tuple[str, str]], folder: Path
) -> tuple[str | Path, ...]:
    mark = {"pypi": "==", "npm": "@"}.get(registry, "=")
    names = [f"{name}{mark}{version}" if version else name for name, version in wanted]
    if registry == "npm":
        return ("npm", "pack", "--silent", "--ignore-scripts", *names)
    if registry == "deb":
        return ("apt-get", "download", "-qq", *names)
    if registry == "debian":
        only = ("source", "-qq", "--download-only", "--tar-only")
        return ("apt-get", *_apt(folder.parent), *only, *names)
    # One archive for every machine: the Linux wheel for the oldest Python this project runs on.
    fixed = (
        "--only-binary=:all:",
        "--platform",
        "manylinux2014_x86_64",
        "--python-version",
        "3.11",
    )
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder)
    return (*pip, *fixed, *names)


def _apt(folder: Path) -> list[str]:
    """Options for reading Debian's source packages, beside what the machine has set up."""
    own = (folder / "apt").absolute()
    options = [
        f"-oDir::Etc::sourceparts={own}/parts", "-oDir::Etc::sourcelist=/dev/null",
        f"-oDir::State::lists={own}/lists", f"-oDir::Cache={own}/cache",
        "-oAPT::Sandbox::User=", "-oDebug::NoLocking=1",
    ]  # fmt: skip
    if not own.exists():
        for part in ("parts", "lists/partial", "cache/archives/partial"):
            (own / part).mkdir(parents=True)
        for sources in Path("/etc/apt/sources.list.d").glob("*.sources"):
            text = re.sub(r"(?m)^Types: deb$", "Types: deb-src", sources.read_text())
            (own / "parts" / sources.name).write_text(text)
        subprocess.run(["apt-get", *options, "-qq", "update"], capture_output=True, check=False)
    return options


def _version(registry: str, name: str, archive: Path) -> str:
    if registry == "pypi":
        return archive.name.split("-")[1]
    if registry == "npm":
        return archive.name.removesuffix(".tgz").rpartition(_safe(name) + "-")[2]
    if registry == "deb":
        return archive.name.split("_")[1].replace("%3a", ":")
    options = _apt(archive.parent.parent)
    done = subprocess.run(
        ["apt-cache", *options, "showsrc", "--only-source", name],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    upstream = archive.name.partition("_")[2].partition(".orig")[0]
    versions = re.findall(r"(?m)^Version: (\S+)", done.stdout)
    found: str = next(v for v in versions if v.rpartition(":")[2].startswith(f"{upstream}-"))
    return found


def _safe(name: str) -> str:
    return name.lstrip("@").replace("/", "-")


def _made(folder: Path) -> Path:
    os.makedirs(folder, exist_ok=True)
    return folder


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
