"""The commented `codesearch.yaml` that one begins with, for each profile."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from codesearch_resources import yaml_list
from codesearch_resources.repositories import unique_slugs
from codesearch_resources.settings_file import written_path

Profile = Literal["local", "cloud", "hybrid", "extractive"]
# Of these profiles code may leave the machine: asked for before one is written.
MAY_LEAVE = ("cloud", "hybrid")

_STARTER = """\
# Settings of codesearch. Paths: ~ is the home folder, others start at this file's folder.
# Edits count from the next run on; nothing has to be restarted.

data_dir: ./data                  # the index, and the summaries that were paid for
dagster_home: ./dagster_home      # the history of runs; must not be the same folder

defaults:                         # for every repository; an entry below overrides them
{local_only}
  include: []                     # only these files; patterns as in .gitignore; empty: all
  exclude: []                     # not these, such as third_party/**

# Every git repository that a pattern matches, and those to come:
# discover:
#   - ~/src/*
#   - "!~/src/attic"              # but not this one

repositories:
  # - name: api                   # a-z, 0-9, _ and -; without it: the folder's name
  #   path: ~/src/api             # or url: https://example.com/team/api.git
  #   branch: main                # without it: what the repository has checked out
  #   root: src                   # only this folder of it
{entries}
nightly:                          # when the night's run begins, once it is switched on
  cron: "0 3 * * *"               # minute, hour, day, month, day of the week
  timezone: UTC                   # such as Europe/Berlin

{embedder}

summarizers:                      # the chain, in order; what one leaves, the next one gets
{summarizers}
trusted_hosts: []                 # machines of your own on the network
"""


_LOCAL_ONLY = "  local_only: true                # nothing of it leaves this machine"
_MAY_LEAVE = "  local_only: false               # code may be sent to the cloud"
_EXTRACTIVE = "  - {name: extractive, kind: extractive}   # from the code's own words, at no cost\n"
_LOCAL = """\
  - name: local                   # `ollama pull` the model first; another name is another model
    kind: ollama
    url: http://localhost:11434
    model: qwen3-coder:30b
    workers: 3                    # calls at once, as OLLAMA_NUM_PARALLEL allows
"""
_CLOUD = """\
  - name: cloud                   # `ollama signin` first; another name is another model
    kind: ollama
    url: http://localhost:11434
    model: deepseek-v4-flash:cloud
    workers: 3
    price: {input: 0.44, output: 1.32}   # dollars a million tokens, November 2026: look it up
"""
_LIMITS = """\
limits:                           # what the cloud may cost
  max_calls_per_run: 1000
  dollars_per_day: 1.0

"""
_CHAINS = {"extractive": "", "local": _LOCAL, "cloud": _CLOUD, "hybrid": _CLOUD}
_EMBEDDED = "embedder: {kind: embedded}        # needs no server, no key and no download"
_OLLAMA = """\
embedder:                         # `ollama pull qwen3-embedding:0.6b` first
  kind: ollama
  url: http://localhost:11434
  model: qwen3-embedding:0.6b
  dimensions: 1024                # what this model gives; larger ones cut theirs to it
  local_only: true                # vectors are made on this machine, whatever writes summaries\
"""


def starter(repositories: Sequence[Path], profile: str = "extractive") -> str:
    """The text of a first settings file, every key with a comment, that lists these folders."""
    paths = [Path(os.path.abspath(path)) for path in repositories]
    entries = [
        {"name": name, "path": written_path(path)} for path, name in unique_slugs(paths, ()).items()
    ]
    blocks = [yaml_list.block(entry, 2, 4) + "\n" for entry in entries]
    away = profile in MAY_LEAVE
    return _STARTER.format(
        entries="".join(blocks),
        embedder=_OLLAMA if profile == "hybrid" else _EMBEDDED,
        local_only=_MAY_LEAVE if away else _LOCAL_ONLY,
        summarizers=_CHAINS[profile] + _EXTRACTIVE + ("\n" + _LIMITS.rstrip("\n") if away else ""),
    )
