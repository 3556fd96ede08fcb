"""Profiles of a first settings file: valid, and asked for before code may leave."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from codesearch.cli import main
from codesearch_resources.settings import load


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def init(*arguments: str, answer: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(main, ["init", *arguments], input=answer)
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("profile", "kinds"),
    [("extractive", ["extractive"]), ("local", ["ollama", "extractive"])],
)
def test_what_stays_on_this_machine_is_written_without_a_question(
    profile: str, kinds: list[str]
) -> None:
    assert init("--profile", profile)[0] == 0
    settings = load(Path("codesearch.yaml"))
    assert [link.kind for link in settings.summarizers] == kinds
    assert "local_only: true" in Path("codesearch.yaml").read_text()


def test_without_a_profile_no_model_is_asked() -> None:
    assert init()[0] == 0
    assert [link.kind for link in load(Path("codesearch.yaml")).summarizers] == ["extractive"]


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_the_cloud_is_asked_for_and_no_is_the_answer_without_one(answer: str) -> None:
    code, output = init("--profile", "cloud", answer=answer)
    assert code != 0
    assert "local_only: false" in output
    assert os.listdir() == []


@pytest.mark.parametrize("how", [("y\n",), ("", "--yes")])
def test_the_cloud_profile_lets_code_leave_within_a_budget(how: tuple[str, ...]) -> None:
    code, output = init("--profile", "cloud", *how[1:], answer=how[0])
    assert code == 0, output
    settings = load(Path("codesearch.yaml"))
    cloud = settings.summarizers[0]
    assert cloud.kind == "ollama"
    assert cloud.price is not None
    assert settings.limits.budget == 1.0
    assert "local_only: false" in Path("codesearch.yaml").read_text()
