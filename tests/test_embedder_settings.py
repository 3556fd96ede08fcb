"""`embedder:` in codesearch.yaml: what it may say, and that code does not leave unasked."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import WorkTree

from codesearch_resources.settings import Settings, SettingsError, load
from codesearch_resources.settings_embedders import OllamaEmbedderSettings

OLLAMA = "{kind: ollama, model: qwen3-embedding, dimensions: 1024}"


@pytest.fixture
def settings(tmp_path: Path, make_tree: Callable[..., WorkTree]) -> Callable[[str], Settings]:
    """Settings with one repository and these lines."""
    tree = make_tree("api", {"a.py": "x = 1\n"})

    def write(text: str, local_only: str = "") -> Settings:
        file = tmp_path / "codesearch.yaml"
        entry = f"repositories:\n  - path: {tree.path}\n{local_only}"
        file.write_text(f"{entry}\n{text}\n")
        return load(file)

    return write


def problems(settings: Callable[..., Settings], text: str, *more: str) -> list[str]:
    with pytest.raises(SettingsError) as error:
        settings(text, *more)
    return [f"{one.key}: {one.message}" for one in error.value.problems]


def test_a_local_server_needs_a_model_and_a_width(settings: Callable[[str], Settings]) -> None:
    embedder = settings(f"embedder: {OLLAMA}").embedder
    assert isinstance(embedder, OllamaEmbedderSettings)
    assert embedder.base_url == "http://localhost:11434"
    assert embedder.local_only
    found = problems(settings, "embedder: {kind: ollama}")
    assert [one.partition(":")[0] for one in found] == ["embedder.model", "embedder.dimensions"]


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("{kind: ollama, model: m, dimensions: 0}", "embedder.dimensions", "greater"),
        ("{kind: ollama, model: m, dimensions: '8'}", "embedder.dimensions", "whole number"),
        ("{kind: ollama, model: m, dimension: 8}", "embedder.dimension", "dimensions?"),
        ("{kind: olama, model: m}", "embedder.kind", "no such kind"),
        ("{kind: openai_compatible, model: m, dimensions: 8}", "embedder.url", "missing"),
        (
            "{kind: openai_compatible, model: m, dimensions: 8, url: 'http://u:p@localhost'}",
            "embedder.url",
            "must not hold a user",
        ),
        (
            "{kind: ollama, model: m, dimensions: 8, api_key_env: sk-abc}",
            "embedder.api_key_env",
            "never the key",
        ),
        (
            "{kind: openai_compatible, model: m, dimensions: 8, url: 'http://far.example/v1', "
            "api_key_env: SOME_KEY}",
            "embedder.url",
            "would send the key in the clear",
        ),
        ("{kind: ollama, model: m, dimensions: 8, meter: x}", "embedder.meter", "no meter of that"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(
    settings: Callable[[str], Settings], text: str, key: str, message: str
) -> None:
    found = problems(settings, f"embedder: {text}")
    assert any(one.startswith(f"{key}: ") and message in one for one in found), found


CLOUD = "kind: openai_compatible, url: 'https://api.example.com/v1', model: m, dimensions: 8"


@pytest.mark.parametrize(
    ("text", "local_only", "key", "because"),
    [
        (f"{{{CLOUD}}}", "    local_only: false\n", "url", "embedder.local_only is true"),
        (f"{{{CLOUD}, local_only: false}}", "", "url", "defaults.local_only is true"),
        (
            f"{{{CLOUD}, local_only: false}}",
            "    local_only: true\n",
            "url",
            "repositories.0.local_only is true (line 3)",
        ),
        (
            "{kind: ollama, model: 'embed:cloud', dimensions: 8, local_only: false}",
            "",
            "model",
            "runs in Ollama's cloud",
        ),
        (
            "{kind: ollama, model: 'embed:8b-cloud', dimensions: 8}",
            "    local_only: false\n",
            "model",
            "runs in Ollama's cloud",
        ),
    ],
)
def test_a_cloud_embedder_and_local_only_exclude_each_other(
    settings: Callable[..., Settings], text: str, local_only: str, key: str, because: str
) -> None:
    (found,) = problems(settings, f"embedder: {text}", local_only)
    assert found.startswith(f"embedder.{key}: ")
    assert because in found


@pytest.mark.parametrize(
    "text",
    [
        f"embedder: {{{CLOUD}, local_only: false}}\ndefaults: {{local_only: false}}",
        f"embedder: {{{CLOUD}}}\ntrusted_hosts: [api.example.com]",
        f"embedder: {OLLAMA}",
        "embedder: {kind: ollama, url: 'http://[::1]:1', model: m, dimensions: 8}",
        "embedder: {kind: ollama, url: 'http://127.8.8.8', model: m, dimensions: 8}",
        "embedder:\n  kind: ollama\n  model: m\n  dimensions: 8\n  query_prefix:\n",
    ],
)
def test_what_stays_on_ones_own_machines_or_was_allowed_is_fine(
    settings: Callable[[str], Settings], text: str
) -> None:
    assert settings(text).embedder.kind in ("ollama", "openai_compatible")
