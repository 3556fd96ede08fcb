"""Summaries by a real model: adapter, contract and the whole line, against a server that is none of
ours. `make soak ONLY=real_model`; any Ollama by CODESEARCH_TEST_OLLAMA and …_OLLAMA_MODEL."""

import ast
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import real_model
from conftest import Workspace, WorkTree
from connect_guard import guarded
from pieces import link, piece

from codesearch_resources.calls import CallError
from codesearch_resources.egress import Gate
from codesearch_resources.summarizers.contract import Unusable, check
from codesearch_resources.summarizers.make import make_adapter
from codesearch_resources.summarizers.prompt import build, estimate

pytestmark = pytest.mark.soak

WANTED = 60
# Modules of the interpreter itself: real code that is on every machine.
MODULES = ("argparse", "configparser", "zipfile")  # 110 chunks


def bare(module: str) -> str:
    """The code of a module without comments and doc strings: every chunk needs a model."""
    file = Path(os.__file__).parent.joinpath(*module.split(".")).with_suffix(".py")
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            body[:1] = [] if len(body) > 1 else [ast.Pass()]
    return ast.unparse(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def functions(module: str) -> list[str]:
    """The functions and methods of a module that are more than a line or two."""
    code = bare(module)
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]
    texts = [ast.get_source_segment(code, node) or "" for node in found]
    return [text for text in texts if 4 <= text.count("\n") < 60]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_model.served(tmp_path_factory.mktemp("server") / "server.log") as url:
        yield url


def smol(url: str) -> dict[str, Any]:
    return {"url": url, "model": real_model.NAME, "workers": 1, "context": real_model.CONTEXT}


@pytest.fixture
def ollama() -> dict[str, Any]:
    url, model = (os.environ.get(f"CODESEARCH_TEST_OLLAMA{n}") for n in ("", "_MODEL"))
    if not url or not model:
        pytest.skip("needs CODESEARCH_TEST_OLLAMA and CODESEARCH_TEST_OLLAMA_MODEL")
    return {"url": url, "model": model}


def ask_for_summaries(kind: str, given: dict[str, Any], wanted: int) -> list[tuple[str, str]]:
    """(code, accepted summary) of functions, by the adapter alone; prints what was refused."""
    host = urlsplit(given["url"]).hostname or ""
    gate, settings = Gate([host]), link(kind, **given)
    adapter = make_adapter(settings, gate)
    local = gate.reach(adapter.destination()) != "cloud"
    written: list[tuple[str, str]] = []
    asked = 0
    for code in functions("argparse") + functions("zipfile"):
        if len(written) == wanted:
            break
        prompt = build(piece(code), settings.context_tokens, local_only=local)
        answer = adapter.ask(prompt)
        asked += 1
        assert answer.usage.input is not None
        assert 0.5 < answer.usage.input / prompt.input_tokens < 1.4  # the estimate is one
        assert answer.usage.output is not None
        assert answer.usage.output <= prompt.output_cap
        try:
            written.append((code, check(answer.text, prompt.code, cut=answer.cut)))
        except Unusable as bad:
            print(f"refused ({bad.reason}): {answer.text!r}")
    adapter.close()
    print(f"{len(written)} of {asked} answers were summaries")
    return written


def test_real_model_answers_the_adapter(server: str) -> None:
    with guarded():
        written = ask_for_summaries("openai_chat", smol(server), 20)
    assert len(written) == 20


def test_real_model_over_long_prompt_is_refused_by_the_server(server: str) -> None:
    """Our own cut keeps it from happening; here it is told a larger context than it has."""
    code = "\n".join(f"value_{i} = compute(value_{i - 1})" for i in range(900))
    adapter = make_adapter(link("openai_chat", **smol(server) | {"context": 32768}), Gate())
    assert estimate(code) > real_model.CONTEXT
    with pytest.raises(CallError, match="maximum context length") as caught:
        adapter.ask(build(piece(code), 32768))
    assert (caught.value.trouble, caught.value.status) == ("item", 400)
    fitting = build(piece(code), real_model.CONTEXT)
    assert fitting.truncated
    assert make_adapter(link("openai_chat", **smol(server)), Gate()).ask(fitting).usage.input


def test_real_model_ollama_answers_the_adapter(ollama: dict[str, Any]) -> None:
    assert len(ask_for_summaries("ollama", ollama, 20)) == 20


# The whole line


def indexed(
    workspace: Workspace, links: Sequence[dict[str, Any]], *, inside: bool
) -> list[dict[str, Any]]:
    """Index under that chain; the rows of `summaries` that a model wrote."""
    hosts = sorted({urlsplit(each["url"]).hostname or "" for each in links})
    settings = json.loads(json.dumps({"summarizers": links, "trusted_hosts": hosts}))
    settings["nightly"] = {"slice_minutes": 240}
    text = workspace.file.read_text() + "".join(
        f"{k}: {json.dumps(v)}\n" for k, v in settings.items()
    )
    workspace.file.write_text(text)
    with guarded() if inside else nullcontext():
        outcomes = workspace.index()
    assert not [outcome for outcome in outcomes if outcome.error]
    rows = workspace.open().table("summaries").to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def judged(rows: Sequence[dict[str, Any]], model: str) -> None:
    """Enough summaries by that model, each in the promised form; printed to be looked at."""
    by_model = [row for row in rows if row["grade"] == "model"]
    for row in by_model:
        print(f"{row['path']}: {row['summary']}")
        assert (row["model"], row["provider"]) == (model, "real")
        assert check(row["summary"], "") == row["summary"]
    print(f"{len(by_model)} of {len(rows)} chunks have a summary by {model}")
    assert len(by_model) >= WANTED


def repository(make_tree: Callable[..., WorkTree]) -> WorkTree:
    return make_tree("code", {f"{name.replace('.', '_')}.py": bare(name) for name in MODULES})


def test_real_model_summarises_a_repository_end_to_end(
    server: str,
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
) -> None:
    """Every chunk stays on this machine, and every summary says who wrote it."""
    workspace = make_workspace(repository(make_tree))
    chain = [{"name": "real", "kind": "openai_chat", **smol(server)}]
    judged(indexed(workspace, chain, inside=True), real_model.NAME)


def test_real_model_ollama_summarises_a_repository_end_to_end(
    ollama: dict[str, Any],
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
) -> None:
    """Against an Ollama that the environment names; what it is sent is public code."""
    workspace = make_workspace(repository(make_tree), extra="defaults: {local_only: false}\n")
    chain = [{"name": "real", "kind": "ollama", **ollama}]
    judged(indexed(workspace, chain, inside=False), ollama["model"])
