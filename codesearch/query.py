"""A question taken apart once: its words, the names it spells, the languages it speaks of."""

from dataclasses import dataclass

from codesearch_resources.text import STOP_WORDS, code_names, query_words, stems, tokens, words

MOST_NAMES = 64  # of a question; a pasted file names hundreds
MOST_TERMS = 256  # that BM25 is asked for; a pasted file is cut, and a notice says so
JOINED = (2, 3)  # neighbours that are asked for as one word too: "event loop" finds EventLoop

# What people call a language, where the word means nothing else in a question about code.
LANGUAGES = {
    "c#": "csharp", "c++": "cpp", "cplusplus": "cpp", "cpp": "cpp", "csharp": "csharp",
    "elixir": "elixir", "golang": "go", "haskell": "haskell", "java": "java",
    "javascript": "javascript", "kotlin": "kotlin", "lua": "lua", "php": "php",
    "python": "python", "ruby": "ruby", "rust": "rust", "scala": "scala", "swift": "swift",
    "typescript": "typescript",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked."""

    text: str
    stems: tuple[str, ...]  # of its words that carry meaning, each once
    names: tuple[str, ...]  # parts spelled like identifiers, lower case
    terms: tuple[str, ...]  # what BM25 is asked for, each once
    languages: frozenset[str]  # that are named
    cut: bool  # whether there were more terms than are asked for


def parse(text: str) -> Query:
    """Take a question apart."""
    found = query_words(text)
    terms = _terms(text, found)
    named = {LANGUAGES.get(_bare(word).lower(), "") for word in text.split()}
    return Query(
        text,
        tuple(dict.fromkeys(stems(" ".join(found)))),
        tuple(_identifiers(text)),
        tuple(terms[:MOST_TERMS]),
        frozenset(named - {""}),
        len(terms) > MOST_TERMS,
    )


def _terms(text: str, found: list[str]) -> list[str]:
    """The question's words as the index holds them, then neighbours run together."""
    kept = [word for word in text.split() if _bare(word).lower() not in STOP_WORDS]
    single = tokens(" ".join(kept)) or tokens(text)
    joined = [
        "".join(found[start : start + size])
        for size in JOINED
        for start in range(len(found) - size + 1)
    ]
    return list(dict.fromkeys([*single, *joined]))


def _bare(word: str) -> str:
    return word.strip(".,;:!?\"'`()[]{}<>")


def _identifiers(text: str) -> list[str]:
    """Spelled like code, or capitalised so that it may name a type; a lone word counts too."""
    named = code_names(text)
    bare = [_bare(word) for word in text.split()]
    named += [word for word in bare if word[:1].isupper() and word.isidentifier()]
    if len(bare) == 1:
        named += bare
    found: dict[str, None] = {}
    for name in named:
        plain = name.removesuffix("()").lstrip("@").replace("::", ".").replace("->", ".")
        for form in (plain, "".join(words(plain.rpartition(".")[2])) if "." not in plain else ""):
            found[form.lower()] = None
    found.pop("", None)
    return list(found)[:MOST_NAMES]
