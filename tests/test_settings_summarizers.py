"""The links of the chain as settings: what each kind takes, and what is wrong on which line."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from codesearch_resources.settings import Settings, SettingsError, load
from codesearch_resources.settings_rules import environment_name, server_url
from codesearch_resources.settings_summarizers import (
    MODELS_BY_KIND,
    OllamaSettings,
    OpenAIChatSettings,
    OpenAIResponsesSettings,
)

EXAMPLE = Path(__file__).parent.parent / "codesearch.example.yaml"


def loaded(folder: Path, text: str) -> Settings:
    file = folder / "codesearch.yaml"
    file.write_text(text)
    return load(file)


def problems(folder: Path, text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(SettingsError) as caught:
        loaded(folder, text)
    return [(p.line, p.key, p.message) for p in caught.value.problems]


def chain(*links: str) -> str:
    return "summarizers:\n" + "".join(f"  - {{{link}}}\n" for link in links)


def test_a_chain_of_every_kind(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        chain(
            "name: a, kind: ollama, model: x",
            "name: b, kind: openai_chat, model: y, url: 'http://box:8000'",
            "name: c, kind: openai_responses, model: z, api_key_env: OPENAI_API_KEY",
            "name: d, kind: extractive",
        ),
    )
    local, chat, responses, last = settings.summarizers
    assert isinstance(local, OllamaSettings)
    assert (local.url, local.num_ctx, local.workers) == ("http://localhost:11434", 8192, 3)
    assert (local.timeout_seconds, local.keep_alive, local.limit) == (300, None, "a")
    assert not local.allow_subscription
    assert isinstance(chat, OpenAIChatSettings)
    assert (chat.base_url, chat.context_tokens) == ("http://box:8000/v1", 8192)
    assert isinstance(responses, OpenAIResponsesSettings)
    assert responses.base_url == "https://api.openai.com/v1"
    assert (last.name, last.kind) == ("d", "extractive")


def test_another_model_is_one_word(tmp_path: Path) -> None:
    text = chain("name: a, kind: ollama, model: 'qwen3-coder:30b'")
    here = loaded(tmp_path, text).summarizers[0]
    there = loaded(tmp_path, text.replace("qwen3-coder:30b", "qwen3.5:397b-cloud")).summarizers[0]
    assert here.model_dump() | {"model": "qwen3.5:397b-cloud"} == there.model_dump()


def test_a_price_and_a_meter(tmp_path: Path) -> None:
    text = chain(
        "name: a, kind: ollama, model: x, meter: plan, price: {input: 1, output: 2.5, cached: 0.1}"
    )
    link = loaded(tmp_path, f"{text}meters: [{{name: plan}}]\n").summarizers[0]
    assert isinstance(link, OllamaSettings)
    assert link.price is not None
    assert (link.price.input, link.price.output, link.price.cached) == (1.0, 2.5, 0.1)
    assert link.limit == "plan"


WRONG = [
    ("kind: ollama, name: a", "model", "is missing"),
    ("kind: ollama, name: a, model: ''", "model", "must not be empty"),
    ("name: a, model: x", "kind", "is missing"),
    ("kind: openai, name: a, model: x", "kind", "there is no such kind; there is 'extractive', "),
    ("kind: 3, name: a", "kind", "there is no such kind; there is 'extractive', "),
    ("kind: ollama, name: a, model: x, worker: 2", "worker", "unknown key; did you mean workers?"),
    ("kind: ollama, name: a, model: x, context: 8192", "context", "unknown key; "),
    ("kind: extractive, name: a, model: x", "model", "unknown key; there are name, kind"),
    ("kind: ollama, name: a, model: x, num_ctx: 5000", "num_ctx", "must be 2048, 4096, 8192, "),
    ("kind: ollama, name: a, model: x, workers: 0", "workers", "greater than or equal to 1"),
    ("kind: ollama, name: a, model: x, workers: 65", "workers", "less than or equal to 64"),
    ("kind: ollama, name: a, model: x, workers: many", "workers", "must be a whole number"),
    ("kind: ollama, name: a, model: x, timeout_seconds: 0", "timeout_seconds", "greater than"),
    ("kind: ollama, name: a, model: x, allow_subscription: 1", "allow_subscription", "true or"),
    ("kind: ollama, name: a, model: x, price: 3", "price", "must be a mapping"),
    ("kind: ollama, name: a, model: x, price: {input: 1}", "price.output", "is missing"),
    ("kind: ollama, name: a, model: x, price: {input: -1, output: 1}", "price.input", "greater"),
    ("kind: ollama, name: a, model: x, price: {in: 1}", "price.in", "unknown key; did you mean i"),
    ("kind: openai_chat, name: a, model: x", "url", "is missing"),
    ("kind: openai_chat, name: a, model: x, url: 'http://h', extra: 3", "extra", "must be a m"),
    ("kind: ollama, name: a, model: x, url: 'localhost:11434'", "url", "must be the address of"),
    ("kind: ollama, name: a, model: x, url: 'ftp://h'", "url", "must be the address of a server"),
    ("kind: ollama, name: a, model: x, url: 'http://h:99999'", "url", "must be the address of"),
    ("kind: ollama, name: a, model: x, url: 'http://h/?key=1'", "url", "must end with its path"),
    ("kind: ollama, name: a, model: x, url: 'http://me:pw@h'", "url", "must not hold a user"),
    ("kind: ollama, name: a, model: x, api_key_env: 'sk-12'", "api_key_env", "must be the name"),
    (
        "kind: openai_chat, name: a, model: x, url: 'http://far.example', api_key_env: SOME_KEY",
        "url",
        "would send the key in the clear",
    ),
]


@pytest.mark.parametrize(("link", "key", "message"), WRONG)
def test_what_is_wrong_has_its_line_and_key(
    tmp_path: Path, link: str, key: str, message: str
) -> None:
    found = problems(tmp_path, chain("name: first, kind: extractive", link))
    assert {line for line, _, _ in found} == {3}
    assert message in {place: text for _, place, text in found}[f"summarizers[1].{key}"]


@pytest.mark.parametrize("secret", ["sk-very-secret-key-1234", "hunter2"])
def test_a_secret_in_the_wrong_place_is_not_quoted(tmp_path: Path, secret: str) -> None:
    for link in (
        f"kind: ollama, name: a, model: x, api_key_env: '{secret}'",
        f"kind: ollama, name: a, model: x, url: 'http://me:{secret}@host'",
        f"kind: ollama, name: a, model: x, api_key: '{secret}'",
    ):
        assert secret not in str(problems(tmp_path, chain(link)))


def test_a_key_goes_in_the_clear_to_own_machines_only(tmp_path: Path) -> None:
    link = "kind: openai_chat, name: a, model: x, url: 'http://box.lan:8000', api_key_env: SOME_KEY"
    assert loaded(tmp_path, chain(link) + "trusted_hosts: [box.lan]\n").summarizers
    assert loaded(tmp_path, chain(link.replace("box.lan", "localhost"))).summarizers
    assert loaded(tmp_path, chain(link.replace("http:", "https:"))).summarizers


def test_every_kind_is_in_the_example_with_every_key(tmp_path: Path) -> None:
    """The commented links of the example are what they say: taken as they stand, they load."""
    below = EXAMPLE.read_text().partition("\nsummarizers:\n")[2]
    lines = re.split(r"^(?=\w)", below, flags=re.MULTILINE)[0]
    text = "summarizers:\n" + re.sub(r"^  # (?=[- ] ?\w|  )", "  ", lines, flags=re.MULTILINE)
    text = re.sub(r"^  (?!- |  |#).*\n", "", text, flags=re.MULTILINE)
    links = loaded(tmp_path, f"{text}meters: [{{name: openai}}]\n").summarizers
    assert [link.kind for link in links] == [
        "extractive",
        "ollama",
        "openai_chat",
        "openai_responses",
    ]
    shown = set(re.findall(r"^    (\w+):", text, re.MULTILINE)) | {"name"}
    every = {key for kind in MODELS_BY_KIND.values() for key in kind.model_fields}
    assert every - shown == set()


@pytest.mark.parametrize("kind", ["openai_chat", "openai_responses", "ollama"])
def test_settings_of_a_link_cannot_change(kind: str) -> None:
    link = MODELS_BY_KIND[kind].model_validate(
        {"name": "a", "kind": kind, "model": "x", "url": "http://h"}
    )
    with pytest.raises(ValidationError):
        link.model = "y"  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", ["", "x", "1A", "lower", "A B", "$KEY", "K" * 200])
def test_an_environment_name_is_one(value: str) -> None:
    with pytest.raises(ValueError, match="the name of an environment variable"):
        environment_name(value)


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://h", "http://h/v1"),
        ("http://h/", "http://h/v1"),
        ("http://h/v1", "http://h/v1"),
        ("https://h:8/api/v1/", "https://h:8/api/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_the_path_of_openai_servers(given: str, base: str) -> None:
    assert server_url(given) == given
    fields: dict[str, Any] = {"name": "a", "kind": "openai_chat", "model": "x", "url": given}
    assert OpenAIChatSettings(**fields).base_url == base


def test_the_path_of_ollama_is_none() -> None:
    for url in ("http://h", "http://h/", "http://h/api", "http://h/api/"):
        link = OllamaSettings(name="a", kind="ollama", model="x", url=url)
        assert link.base_url == "http://h"
