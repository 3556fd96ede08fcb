"""Embedders behind servers: what real servers do to texts and vectors, and what is made of it.

Bodies are those recorded from Ollama 0.9.3 and llama-cpp-python 0.3.36, or the simulator's, which
are made after them.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedding_servers import (
    WIDTH,
    EmbeddingServer,
    around,
    cosines,
    embedder_for,
    is_fixed,
    most_calls,
    settings_for,
    spread,
    texts_of,
)
from simulator import Call, Fault, Simulator, fault

from codesearch_resources.embedders import booked
from codesearch_resources.embedders import questions as questions_module
from codesearch_resources.embedders import server as server_module
from codesearch_resources.embedders.base import Document, EmbeddingError, TextsRefused
from codesearch_resources.embedders.identity import identity
from codesearch_resources.embedders.server import ServerEmbedder, batches, server_embedder
from codesearch_resources.quota.metered import MeteredGuard
from codesearch_resources.results import Results

KINDS = ("ollama", "openai_compatible")
WORDS = [f"def function_{n}(): return {n} * {n + 1}" for n in range(150)]


PATIENCE = questions_module.PATIENCE


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """And long patience with a question: only tests about it are about time."""
    monkeypatch.setattr(server_module, "PAUSES", (0.01,) * 8)
    monkeypatch.setattr(questions_module, "PATIENCE", 20.0)


def item(what: str) -> Fault:
    """A refusal of the whole batch because of what is in it."""
    return Fault("item", 200, None, {}, lambda _: {"error": what}, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_become_unit_vectors_in_order_and_are_asked_for_once(
    kind: str, tmp_path: Path
) -> None:
    with EmbeddingServer() as server:
        embedder = embedder_for(server, tmp_path, kind)
        vectors = embedder.embed(WORDS, "document")
        assert cosines(vectors, spread(WORDS)) == pytest.approx(1)
        assert sorted(server.texts) == sorted(WORDS)
        assert 1 < len(server.batches) < 10
        again = embedder_for(server, tmp_path, kind).embed(WORDS[::-1], "document")
        assert np.allclose(again, vectors[::-1], atol=1e-3)
        assert len(server.texts) == len(WORDS)


def test_each_request_is_in_the_ledger_with_what_the_server_counted(tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        embedder_for(server, tmp_path).embed(WORDS, "document")
        results = Results(tmp_path / "data")
        entries = results.ledger.entries()
        assert len(entries) == len(server.calls)
        assert {entry.purpose for entry in entries} == {"embedding"}
        assert {entry.status for entry in entries} == {"settled"}
        assert sum(entry.usage.input or 0 for entry in entries) == server.counted[0]
        assert all(entry.estimated_input > 0 for entry in entries)
        results.close()


def test_ollama_is_told_not_to_cut_and_how_wide_vectors_are(tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        embedder_for(server, tmp_path, context=512).embed(["a text"], "document")
        assert all(call.body["truncate"] is False for call in server.calls)
        assert {call.body["dimensions"] for call in server.calls} == {WIDTH}
        assert {call.body["options"]["num_ctx"] for call in server.calls} == {512}


def test_the_question_to_qwen_carries_an_instruction_and_documents_do_not(tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        embedder = embedder_for(server, tmp_path, model="qwen3-embedding:0.6b")
        embedder.embed(["def f(): ..."], "document")
        embedder.embed(["where is it?"], "query")
        asked = [text for call in server.calls for text in texts_of(call)]
        assert "def f(): ..." in asked
        (question,) = (text for text in asked if text.endswith("where is it?"))
        assert question.startswith("Instruct: ")
        assert "\nQuery: where" in question


def test_a_document_is_path_names_and_code_as_it_is(tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        document = Document("src/api.py", "python", ("Api.get",), "class Api:", "def get(self): 1")
        viewed = embedder_for(server, tmp_path).view(document)
        assert viewed == "src/api.py\nApi.get\nclass Api:\ndef get(self): 1"
        assert embedder_for(server, tmp_path, model="nomic-embed-text").view(document) == (
            "search_document: " + viewed
        )


# What is wrong with a vector or two


def bad_vector(text: str, row: Any) -> Any:
    """A spoiler: the vector of one text becomes `row`, or what `row` makes of it."""

    def spoil(texts: Sequence[str], vectors: list[Any]) -> list[Any]:
        return [
            (row(v) if callable(row) else row) if t == text else v
            for t, v in zip(texts, vectors, strict=True)
        ]

    return spoil


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "row",
    [
        pytest.param([float("nan")] * WIDTH, id="nan"),
        pytest.param([float("inf")] + [0.0] * (WIDTH - 1), id="infinity"),
        pytest.param([0.0] * WIDTH, id="zero"),
        pytest.param([None] * WIDTH, id="nulls"),
        pytest.param("AAAA", id="base64"),
        pytest.param([[0.1]] * WIDTH, id="nested"),
        pytest.param(["0.1"] * WIDTH, id="strings"),
    ],
)
def test_a_text_with_an_unusable_vector_is_refused_alone(
    kind: str, row: Any, tmp_path: Path
) -> None:
    with EmbeddingServer(spoil=bad_vector(WORDS[7], row)) as server:
        with pytest.raises(TextsRefused) as refused:
            embedder_for(server, tmp_path, kind).embed(WORDS, "document")
        assert list(refused.value.refused) == [7]
        others = [n for n in range(len(WORDS)) if n != 7]
        assert cosines(refused.value.vectors[others], spread(WORDS)[:7] + spread(WORDS)[8:]) == (
            pytest.approx(1)
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param((400, "embedding contains NaN or Inf values"), id="nan today"),
        pytest.param((500, "failed to encode response: json: unsupported value: NaN"), id="nan"),
    ],
)
def test_20_a_batch_refused_for_one_text_is_halved(
    kind: str, body: tuple[int, str], tmp_path: Path
) -> None:
    """The others are stored, one is refused, in at most 2 log2(n) + 1 calls."""
    texts = WORDS[:64]
    with EmbeddingServer() as server:
        status, said = body
        error = {"error": said if kind == "ollama" else {"message": said}}
        refusal = fault("crash", status=status, body=error)
        server.always(lambda call: refusal if texts[41] in texts_of(call) else None)
        embedder = embedder_for(server, tmp_path, kind)
        with pytest.raises(TextsRefused) as refused:
            embedder.embed(texts, "document")
        assert list(refused.value.refused) == [41]
        assert len(server.batches) <= most_calls(len(texts)) == 13
        results = Results(tmp_path / "data")
        assert results.vectors.counts() == {embedder.set_name: 63}
        results.close()


def test_a_text_that_crashes_the_runner_each_time_is_found_as_well(tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        server.always(lambda call: fault("crash") if WORDS[3] in texts_of(call) else None)
        with pytest.raises(TextsRefused) as refused:
            embedder_for(server, tmp_path).embed(WORDS[:8], "document")
        assert list(refused.value.refused) == [3]


@pytest.mark.parametrize("kind", KINDS)
def test_empty_and_blank_texts_are_refused_without_a_call(kind: str, tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        with pytest.raises(TextsRefused) as refused:
            embedder_for(server, tmp_path, kind).embed(["", " \n\t", "x"], "document")
        assert list(refused.value.refused) == [0, 1]
        assert server.texts == ["x"]
        assert embedder_for(server, tmp_path, kind).embed([], "document").shape == (0, WIDTH)


# What is wrong with the server


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [WIDTH // 2, WIDTH * 2, 1])
def test_another_width_than_the_settings_say_ends_it_with_what_to_set(
    kind: str, given: int, tmp_path: Path
) -> None:
    """Old Ollamas and llama-cpp ignore `dimensions`."""
    with EmbeddingServer(vectors=lambda texts: spread(texts, given)) as server:
        embedder = embedder_for(server, tmp_path, kind)
        with pytest.raises(
            EmbeddingError, match=f"vectors of {given} numbers.*dimensions: {WIDTH}"
        ):
            embedder.embed(WORDS, "document")
        assert server.texts == []  # found by the first fixed text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda _, vectors: vectors[:-1], id="fewer"),
        pytest.param(lambda _, vectors: [*vectors, vectors[0]], id="more"),
        pytest.param(lambda *_: [], id="none"),
        pytest.param(lambda *_: None, id="null"),
        pytest.param(lambda *_: {"0": [0.1] * WIDTH}, id="a mapping"),
    ],
)
def test_fewer_or_more_vectors_than_texts_are_never_told_apart(
    kind: str, spoil: Any, tmp_path: Path
) -> None:
    if kind == "openai_compatible":
        plain = spoil

        def spoil(texts: Sequence[str], vectors: list[Any]) -> Any:
            return plain(texts, vectors) or []

    with EmbeddingServer(spoil=spoil) as server:
        with pytest.raises(EmbeddingError, match=r"gave \w+ vectors for \d+ text|something else"):
            embedder_for(server, tmp_path, kind).embed(WORDS, "document")
        results = Results(tmp_path / "data")
        assert results.vectors.counts() == {}
        results.close()


def test_vectors_of_an_openai_server_are_put_in_order_by_their_index(tmp_path: Path) -> None:
    class Shuffled(EmbeddingServer):
        def answer(self, call: Call) -> dict[str, Any]:
            made = super().answer(call)
            return {**made, "data": made["data"][::-1]}

    with Shuffled() as server:
        vectors = embedder_for(server, tmp_path, "openai_compatible").embed(WORDS, "document")
        assert cosines(vectors, spread(WORDS)) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_changes_its_mind_about_normalising_changes_nothing(
    kind: str, tmp_path: Path
) -> None:
    """llama-cpp gives lengths of 6 to 8, Ollama's old path as well."""
    lengths = iter([1.0, 6.87, 8.25, 0.3] * 1000)

    def scaled(_: Sequence[str], vectors: list[Any]) -> list[Any]:
        length = next(lengths)
        return [[number * length for number in row] for row in vectors]

    with EmbeddingServer(spoil=scaled) as server:
        vectors = embedder_for(server, tmp_path, kind).embed(WORDS, "document")
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
        assert cosines(vectors, spread(WORDS)) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_another_model_behind_the_name_is_found_before_a_vector_is_stored(
    kind: str, tmp_path: Path
) -> None:
    with EmbeddingServer() as server:
        embedder_for(server, tmp_path, kind).embed(WORDS[:5], "document")
        server.vectors = lambda texts: [row[::-1] for row in spread(texts)]
        replaced = embedder_for(server, tmp_path, kind)
        with pytest.raises(EmbeddingError, match=r"another model.*revision"):
            replaced.embed(WORDS, "document")
        assert len(server.texts) == 5
        with pytest.raises(EmbeddingError, match="another model"):
            replaced.embed(["a question"], "query")
        # The next revision is a set of its own.
        anew = embedder_for(server, tmp_path, kind, revision=2)
        assert anew.set_name != replaced.set_name
        assert anew.embed(WORDS, "document").shape == (len(WORDS), WIDTH)


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("ollama", 500, {"error": "this model does not support embeddings"}),
        (
            "openai_compatible",
            500,
            {
                "error": {
                    "message": "Llama model must be created with embedding=True to call this",
                    "type": "internal_server_error",
                }
            },
        ),
    ],
)
def test_a_language_model_is_told_at_once(
    kind: str, status: int, body: dict[str, Any], tmp_path: Path
) -> None:
    with EmbeddingServer() as server:
        server.always(fault("crash", status=status, body=body))
        with pytest.raises(EmbeddingError, match="language model"):
            embedder_for(server, tmp_path, kind).embed(WORDS, "document")
        assert len(server.calls) == 1


def test_a_model_that_only_writes_is_known_by_what_ollama_says_it_can(tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        with pytest.raises(EmbeddingError, match="smol:F16 is a language model"):
            embedder_for(server, tmp_path, model="smol:F16").embed(WORDS, "document")
        assert server.calls == []


def test_a_model_that_gives_every_text_one_vector_is_no_embedder(tmp_path: Path) -> None:
    same = [1.0] + [0.0] * (WIDTH - 1)
    with (
        EmbeddingServer(vectors=lambda texts: [same for _ in texts]) as server,
        pytest.raises(EmbeddingError, match="the same vector"),
    ):
        embedder_for(server, tmp_path).embed(WORDS, "document")


def test_a_server_that_mixes_up_vectors_in_a_batch_is_not_trusted(tmp_path: Path) -> None:
    with EmbeddingServer(spoil=lambda _, vectors: vectors[::-1]) as server:
        with pytest.raises(EmbeddingError, match="another model"):
            embedder_for(server, tmp_path).embed(WORDS, "document")
        assert server.texts == []


def test_a_server_that_cuts_without_a_word_is_found_out(tmp_path: Path) -> None:
    """llama-cpp reads 512 tokens and says nothing."""
    with EmbeddingServer(vectors=lambda texts: spread([t[:600] for t in texts])) as server:
        with pytest.raises(EmbeddingError, match=r"cuts texts of 2048 tokens.*context"):
            embedder_for(server, tmp_path, "openai_compatible").embed(WORDS, "document")
        short = embedder_for(server, tmp_path, "openai_compatible", context=128)
        assert short.embed(WORDS, "document").shape == (len(WORDS), WIDTH)


def test_an_over_long_text_is_cut_on_our_side_and_counted(tmp_path: Path) -> None:
    long = "\n".join(f"value_{n} = compute({n})" for n in range(2000))
    with EmbeddingServer() as server:
        embedder = embedder_for(server, tmp_path, context=256)
        embedder.embed([long, "short"], "document")
        assert embedder.cut == 1
        (sent,) = (text for text in server.texts if text != "short")
        assert long.startswith(sent)
        assert 400 < len(sent) < 1500


def test_what_the_server_finds_too_long_all_the_same_is_cut_further(tmp_path: Path) -> None:
    """Recorded: with truncate false one long text refuses its whole batch."""
    texts = [*WORDS[:7], "x y " * 400]
    refusal = fault("too_long", body={"error": "input length exceeds maximum context length"})
    with EmbeddingServer() as server:
        server.always(lambda call: refusal if any(len(t) > 900 for t in texts_of(call)) else None)
        embedder = embedder_for(server, tmp_path)
        vectors = embedder.embed(texts, "document")
        assert embedder.cut == 1
        assert cosines(vectors, spread([*WORDS[:7], "x y " * 200])) == pytest.approx(1)


# Trouble that passes, and trouble that does not


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_restarts_is_waited_for_and_no_text_is_asked_for_twice(
    kind: str, tmp_path: Path
) -> None:
    with EmbeddingServer() as server:
        names = ("overload", "busy", "close", "rate", "crash", "cut", "bad_gateway")
        met = iter([None, None, None, None, *(fault(name) for name in names)])
        server.always(lambda _: next(met, None))
        vectors = embedder_for(server, tmp_path, kind, workers=1).embed(WORDS, "document")
        assert cosines(vectors, spread(WORDS)) == pytest.approx(1)
        assert sorted(server.served_texts) == sorted(WORDS)


def test_a_server_that_is_not_there_is_told_soon_and_what_was_had_is_kept(tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        embedder = embedder_for(server, tmp_path, workers=1)
        batch_sizes = [len(batch) for batch in batches(dict(zip(WORDS, WORDS, strict=True)))]
        server.script(None, None, None, None)
        server.always(fault("overload"))
        with pytest.raises(EmbeddingError, match="overloaded"):
            embedder.embed(WORDS, "document")
        results = Results(tmp_path / "data")
        kept = results.vectors.counts()[embedder.set_name]
        results.close()
        assert kept == len(server.served_texts) >= min(batch_sizes)
        server.always(None)
        embedder_for(server, tmp_path, workers=1).embed(WORDS, "document")
        assert sorted(server.served_texts) == sorted(WORDS)


@pytest.mark.parametrize("name", ["auth", "model_gone", "model_plan", "quota_money", "redirect"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_only_a_person_can_mend_is_asked_once(name: str, kind: str, tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        server.always(fault(name))
        with pytest.raises(EmbeddingError):
            embedder_for(server, tmp_path, kind).embed(WORDS, "document")
        assert len(server.calls) == 1


@pytest.mark.parametrize(
    "name", ["html", "cut_json", "garbage", "streaming", "huge", "two_answers"]
)
def test_an_answer_that_is_none_stores_nothing(name: str, tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        server.script(None, None)
        server.always(lambda call: None if all(map(is_fixed, texts_of(call))) else fault(name))
        with pytest.raises(EmbeddingError):
            embedder_for(server, tmp_path).embed(WORDS[:2], "document")
        results = Results(tmp_path / "data")
        assert results.vectors.counts() == {}
        results.close()


def test_a_server_that_takes_a_minute_is_asked_once_more_and_no_longer(tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        slow = fault("hang", seconds=60.0)
        met = iter([slow])
        server.always(lambda call: None if all(map(is_fixed, texts_of(call))) else next(met, None))
        embedder = embedder_for(server, tmp_path, timeout_seconds=1, workers=1)
        vectors = embedder.embed(WORDS[:5], "document")
        assert cosines(vectors, spread(WORDS[:5])) == pytest.approx(1)
        server.calls.clear()
        server.always(slow)
        with pytest.raises(EmbeddingError, match="no answer in 1 s"):
            embedder.embed(WORDS[5:], "document")
        asked = Counter(map(tuple, server.batches))
        assert max(asked.values()) <= 2


# A model that is not on one's own machines


def cloud(server: EmbeddingServer, folder: Path, limits: str) -> ServerEmbedder:
    """An embedder whose model Ollama passes on to its cloud, which the settings allow."""
    server.remote.add("nomen-embed")
    settings = settings_for(server.url, local_only=False)
    return server_embedder(settings, around(folder, f"repositories: []\nlimits: {limits}\n"))


def test_a_text_with_a_secret_goes_to_no_cloud_and_the_others_do(tmp_path: Path) -> None:
    secret = 'aws_secret_access_key = "' + "wJalrXUtnFEMI7K9MDENGbPxRfiCYq3Zw8LmNoPs" + '"'
    with EmbeddingServer() as server:
        embedder = cloud(server, tmp_path, "{dollars_per_day: unlimited}")
        with pytest.raises(TextsRefused) as refused:
            embedder.embed(["def one(): return 1", secret, "def two(): return 2"], "document")
        assert list(refused.value.refused) == [1]
        assert sorted(server.texts) == ["def one(): return 1", "def two(): return 2"]
        with pytest.raises(EmbeddingError):
            embedder.embed([secret], "query")
        assert secret not in server.texts
        # On one's own machine it is a text like any other.
        server.remote.clear()
        alone = embedder_for(server, tmp_path / "own")
        assert alone.embed([secret], "document").shape == (1, WIDTH)


def test_what_the_guard_denies_is_not_sent(tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        embedder = cloud(server, tmp_path, "{dollars_per_day: 0}")
        for kind in ("document", "query"):
            with pytest.raises(EmbeddingError, match=r"dollars_per_day|price"):
                embedder.embed(["def one(): return 1"], kind)
        assert server.calls == []


def test_the_first_error_ends_the_other_batches(tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        server.script(None, None)
        server.always(fault("auth"))
        many = [f"{word} {n}" for n in range(20) for word in WORDS]
        with pytest.raises(EmbeddingError):
            embedder_for(server, tmp_path, workers=3).embed(many, "document")
        assert len(server.batches) <= 6


# Questions


def test_a_question_is_asked_once_and_remembered(tmp_path: Path) -> None:
    with EmbeddingServer() as server:
        embedder = embedder_for(server, tmp_path)
        first = embedder.embed(["where is it?"], "query")
        assert np.array_equal(embedder.embed(["where is it?"], "query"), first)
        assert len(server.calls) == 1
        assert cosines(first, spread(["where is it?"])) == pytest.approx(1)


@pytest.mark.parametrize("trouble", ["hang", "never_closes", "trickle", "closed", "slow"])
def test_a_silent_server_costs_a_question_less_than_a_second(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions_module, "PATIENCE", PATIENCE)
    with EmbeddingServer() as server:
        embedder = embedder_for(server, tmp_path)
        if trouble == "closed":
            with EmbeddingServer() as gone:
                embedder = embedder_for(gone, tmp_path)
        elif trouble == "slow":
            server.latency = 60.0
        else:
            server.always(fault(trouble, seconds=60.0))
        took = []
        for question in ("where is it?", "who calls it?", "what is it?"):  # or the machine is busy
            started = time.monotonic()
            with pytest.raises(EmbeddingError):
                embedder.embed([question], "query")
            took.append(time.monotonic() - started)
            if took[-1] < 1.0:
                break
        assert min(took) < 1.0


def test_a_late_answer_is_there_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ollama loads a model for some seconds; the question goes on behind the search."""
    with EmbeddingServer(latency=0.9) as server:
        embedder = embedder_for(server, tmp_path)
        monkeypatch.setattr(questions_module, "PATIENCE", PATIENCE)
        with pytest.raises(EmbeddingError, match=r"did not answer within 0\.6 s"):
            embedder.embed(["where is it?"], "query")
        monkeypatch.setattr(questions_module, "PATIENCE", 20.0)
        assert embedder.embed(["where is it?"], "query").shape == (1, WIDTH)
        assert len(server.calls) == 1


def test_many_at_once_share_the_request_for_one_question(tmp_path: Path) -> None:
    with EmbeddingServer(latency=0.1) as server:
        embedder = embedder_for(server, tmp_path)
        found: list[Any] = []
        threads = [
            threading.Thread(target=lambda: found.append(embedder.embed(["what?"], "query")))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(server.calls) == 1


# Capacity, and a kill


def test_the_capacity_of_a_server_is_used(tmp_path: Path) -> None:
    """5,000 texts, latencies drawn, three at a time: at least nine tenths of what there is.

    Tried twice at most: a machine that is busy with something else takes its share too.
    """
    texts = [f"def function_{n}(): return {n}" for n in range(5000)]
    shares: list[float] = []
    while len(shares) < 2 and max(shares, default=0.0) < 0.9:
        shares.append(capacity_used(texts, tmp_path / str(len(shares))))
    print(f"capacity used: {shares}")
    assert max(shares) >= 0.9


def capacity_used(texts: Sequence[str], folder: Path) -> float:
    """The share of three slots that were at work from the first request to the last vector."""
    with EmbeddingServer(latency=lambda drawn: drawn.uniform(0.4, 1.0), slots=3, seed=8) as server:
        embedder = embedder_for(server, folder, workers=3)
        embedder.embed(["one before"], "document")
        server.calls.clear()
        started = time.monotonic()
        embedder.embed(texts, "document")
        took = time.monotonic() - started
        assert len(server.texts) == len(texts)
        return sum(call.ended - call.began for call in server.calls if call.ended) / (3 * took)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from embedding_servers import around, settings_for
from codesearch_resources.embedders.server import server_embedder
embedder = server_embedder(settings_for(sys.argv[2], workers=1), around(Path(sys.argv[3])))
print("ready", flush=True)
embedder.embed([f"def function_{n}(): return {n}" for n in range(1500)], "document")
"""


def test_a_kill_costs_what_was_under_way(tmp_path: Path) -> None:
    """One request with one worker, or one whose answer was just being kept beside the next."""
    with EmbeddingServer(latency=0.1) as server:
        tests = Path(__file__).parent
        for _ in range(3):
            process = subprocess.Popen(
                [sys.executable, "-c", KILLED, str(tests), server.url, str(tmp_path)],
                stdout=subprocess.PIPE,
            )
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            asked = len(server.batches)
            while len(server.batches) < asked + 2:
                assert process.poll() is None
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        texts = [f"def function_{n}(): return {n}" for n in range(1500)]
        embedder = embedder_for(server, tmp_path, workers=1)
        embedder.embed(texts, "document")
        assert len(server.texts) <= len(texts) + 3 * 2 * server_module.BATCH_TEXTS
        results = Results(tmp_path / "data")
        assert 1 <= len(results.ledger.entries(status="unknown")) <= 9
        results.close()


# Names


def far_embedder(server: Simulator, folder: Path, limits: str, **more: Any) -> ServerEmbedder:
    """An embedder whose model is remote behind the local endpoint: the cloud."""
    server.remote.add("nomen-embed")
    settings = settings_for(server.url, local_only=False, **more)
    return server_embedder(settings, around(folder, f"repositories: []\nlimits: {limits}\n"))


def test_what_a_run_may_spend_is_its_own_however_many_batches_it_is_asked_in(
    tmp_path: Path,
) -> None:
    price = {"input": 1000, "output": 0}
    limits = "{max_spend_per_run: 0.5, dollars_per_day: unlimited}"
    with EmbeddingServer() as server:
        embedder = far_embedder(server, tmp_path, limits, price=price)
        batches_of_ten = (WORDS[at : at + 10] for at in range(0, len(WORDS), 10))
        with pytest.raises(EmbeddingError, match=r"limits\.max_spend_per_run is used up"):
            _embed_all(embedder, batches_of_ten)
        spent = server.counted[0] * 1000 / 1e6
        assert 0.2 < spent <= 0.5
        # The next run has its own.
        far_embedder(server, tmp_path, limits, price=price).embed(WORDS[-10:], "document")


def test_calls_of_a_run_are_counted_over_its_batches(tmp_path: Path) -> None:
    limits = "{max_calls_per_run: 6, dollars_per_day: unlimited}"
    with EmbeddingServer() as server:
        embedder = far_embedder(server, tmp_path, limits)
        with pytest.raises(EmbeddingError, match="max_calls_per_run"):
            _embed_all(embedder, ([word] for word in WORDS))
        assert len(server.calls) == 6


def test_an_embedder_keeps_its_books_once_and_reads_its_meter_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[MeteredGuard] = []

    class Counted(MeteredGuard):
        def __init__(self, *given: Any, **named: Any) -> None:
            made.append(self)
            super().__init__(*given, **named)

    monkeypatch.setattr(booked, "MeteredGuard", Counted)
    raw = {"limit_window_seconds": 604_800, "used_percent": 12, "reset_after_seconds": 86_400}
    (tmp_path / "usage.json").write_text(json.dumps({"windows": [raw]}))
    limits = "{dollars_per_day: unlimited}\nmeters:\n  - {name: plan, subscription: false, "
    limits += "readings: [{kind: file, path: usage.json}]}"
    with EmbeddingServer() as server:
        embedder = far_embedder(server, tmp_path, limits, meter="plan")
        _embed_all(embedder, ([word] for word in WORDS[:4]))
        for word in WORDS[:3]:
            embedder.embed([word], "query")
        assert len(made) == 2  # for documents, and for questions
        far_embedder(server, tmp_path, limits, meter="plan").embed(WORDS[4:6], "document")
    with closing(Results(tmp_path / "data")) as results:
        assert len(results.meters.readings("plan", 0.0)) == 1
        assert len(results.ledger.entries()) == len(server.calls)


def _embed_all(embedder: ServerEmbedder, batches: Iterable[list[str]]) -> None:
    for texts in batches:
        embedder.embed(texts, "document")


def test_a_limit_window_that_is_used_up_is_asked_about_no_more(tmp_path: Path) -> None:
    limits = "{dollars_per_day: unlimited}"
    with EmbeddingServer() as server:
        embedder = far_embedder(server, tmp_path, limits)
        embedder.embed(WORDS[:3], "document")
        server.always(fault("quota_window", resets_in=7_200))
        before = len(server.calls)
        for asked in (embedder, far_embedder(server, tmp_path, limits)):
            with pytest.raises(EmbeddingError):
                asked.embed(WORDS[3:5], "document")
        assert len(server.calls) == before + 1


def test_sets_are_apart_by_kind_model_view_and_revision() -> None:
    names = {
        identity(settings_for("http://localhost:1", kind, **more))
        for kind in KINDS
        for more in (
            {},
            {"model": "nomen:embed"},
            {"model": "nomen_embed"},
            {"model": "Nomen-embed"},
            {"document_prefix": "passage: "},
            {"revision": 2},
            {"dimensions": 32},
            {"model": "x" * 300},
            {"model": "x" * 301},
        )
    }
    assert len(names) == 18
    assert all(name.replace("_", "").isalnum() and "__" not in name for name, _ in names)
    assert all(len(name) <= 60 for name, _ in names)
    here, there = (settings_for(f"http://{host}:1") for host in ("localhost", "127.0.0.1"))
    assert identity(here) == identity(there)
    assert identity(here) == identity(settings_for("http://localhost:1", query_prefix="ask: "))


def test_batches_hold_every_text_once_and_keep_to_their_bounds() -> None:
    todo = {str(n): "é" * (n * 97 % 4000) for n in range(500)}
    made = batches(todo)
    assert sorted(pair for batch in made for pair in batch) == sorted(todo.items())
    for batch in made:
        size = sum(len(text.encode()) for _, text in batch)
        assert len(batch) == 1 or size <= server_module.BATCH_BYTES
        assert len(batch) <= server_module.BATCH_TEXTS


def test_the_recorded_answers_are_understood(tmp_path: Path) -> None:
    """`/api/embed` and `/v1/embeddings` as they came, with the width of that model."""
    vector = [0.03168235, 0.04647014, -0.1077984, -0.0066171875]
    ollama = {
        "model": "all-minilm:l6",
        "total_duration": 25677148,
        "load_duration": 5266852,
        "prompt_eval_count": 3,
        "embeddings": [vector],
    }
    openai = {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "model": "all-minilm",
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    }
    for kind, body in (("ollama", ollama), ("openai_compatible", openai)):
        with Simulator() as server:
            answer = Fault(kind, 200, None, {}, lambda _, body=body: json.loads(json.dumps(body)))
            server.always(answer)
            settings = settings_for(server.url, kind, dimensions=8)
            embedder = server_embedder(settings, around(tmp_path / kind))
            with pytest.raises(EmbeddingError, match="vectors of 4 numbers"):
                embedder.embed(["x"], "document")
            wire = embedder._wire(5.0)
            wire._settings = settings.model_copy(update={"dimensions": 4})  # type: ignore[attr-defined]
            found = wire.embed(["x"])
            wire.close()
            assert np.linalg.norm(found.rows[0]) == pytest.approx(1)  # type: ignore[arg-type]
            assert found.usage.input == body.get("prompt_eval_count", 5)
