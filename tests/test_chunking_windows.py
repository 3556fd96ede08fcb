"""Files cut without a grammar: where windows end, and which definitions they name."""

import pytest

from codesearch_assets.chunking.chunk import Chunk
from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.windows import MOST


def windows(source: str, path: str) -> tuple[Chunk, ...]:
    chunks = cut(source.encode(), path, without_grammar="no grammar")
    assert (chunks.outcome, chunks.reason) == ("windows", "no grammar")
    return chunks.chunks


def symbols(source: str, path: str) -> list[str]:
    return [symbol.name for chunk in windows(source, path) for symbol in chunk.symbols]


SOURCES = {
    "a.rs": (
        "pub struct Pool<T> {\n    items: Vec<T>,\n}\n\nimpl<T: Clone> Pool<T> {\n"
        "    pub async fn take(&mut self) -> Option<T> {\n        let x = self.items.pop();\n"
        "        x\n    }\n}\n\nimpl fmt::Display for Pool<u8> {\n    fn fmt(&self) {}\n}\n\n"
        "pub(crate) trait Drain {\n    fn drain(self);\n}\nmacro_rules! pool { () => {} }\n"
        "const fn size() -> usize { 1 }\n",
        ["Pool", "Pool.take", "Pool.fmt", "Drain", "Drain.drain", "pool", "size"],
    ),
    "A.java": (
        "package com.example;\n\nimport java.util.List;\n\n"
        "public final class Store<T> extends Base {\n  private final int size = other();\n\n"
        "  public Store(int size) {\n    this.size = size;\n  }\n\n  @Override\n"
        "  protected static <K> List<K> all(K key,\n      int count) throws IOException {\n"
        "    return new ArrayList<K>() {\n    };\n  }\n\n  String name() {\n"
        "    if (ready(1)) {\n      return call(2);\n    }\n    return null;\n  }\n}\n\n"
        "interface Reader {\n}\n",
        ["Store", "Store.Store", "Store.all", "Store.name", "Reader"],
    ),
    "a.c": (
        "#include <stdio.h>\n#define LIMIT 10\n#define MAX(a, b) ((a) > (b))\n\n"
        "struct node {\n  int value;\n};\n\nstatic int prototype(int a);\n\n"
        "static int\nadd(int a,\n    int b)\n{\n  struct node *x = find(a);\n  return a + b;\n}\n\n"
        "void *grow(struct node *n) {\n  if(n) {\n    free(n);\n  }\n  return 0;\n}\n\n"
        "typedef struct {\n  int a;\n} pair_t;\n",
        ["LIMIT", "MAX", "node", "add", "grow", "pair_t"],
    ),
    "a.cpp": (
        "namespace app {\n\ntemplate <typename T>\nclass Box : public Base {\n public:\n"
        "  explicit Box(int n);\n  int size() const {\n    return n_;\n  }\n};\n\n"
        "int Box::total(int a) const\n{\n  return a;\n}\n}\n",
        ["app", "Box", "Box.size", "Box.total"],
    ),
    "a.cs": (
        "namespace App\n{\n    public partial class Store : Base\n    {\n"
        "        public async Task<int> LoadAsync(string path)\n        {\n"
        "            await Read(path);\n            return 1;\n        }\n\n"
        "        internal static int Twice(int a) => a * 2;\n    }\n}\n",
        ["App", "Store", "Store.LoadAsync", "Store.Twice"],
    ),
    "a.swift": (
        "public final class Client: Sendable {\n    init(name: String) {\n    }\n\n"
        "    @discardableResult\n    public func send<T>(_ body: T) async throws -> T {\n"
        "        return body\n    }\n}\n\n"
        "extension Client {\n    static func make() -> Client {}\n}\n",
        ["Client", "Client.init", "Client.send", "Client.make"],
    ),
    "a.php": (
        "<?php\nnamespace App\\Log;\n\nabstract class Logger implements Sink\n{\n"
        "    public function __construct(private string $name)\n    {\n    }\n\n"
        "    private static function &write(array $row): void\n    {\n    }\n}\n\n"
        "function helper() {\n}\n",
        ["App", "Logger", "Logger.__construct", "Logger.write", "helper"],
    ),
    "a.sh": (
        "#!/bin/bash\nset -e\n\nmain() {\n  echo hi\n}\n\nfunction deploy_all {\n  :\n}\nmain\n",
        ["main", "deploy_all"],
    ),
    "a.bats": ('@test "adds two numbers" {\n  run add 1 2\n}\n', ["adds two numbers"]),
    "a.hs": (
        "module Data.Pool where\n\ndata Pool a = Pool { items :: [a] }\n\n"
        "-- | Takes one.\ntake' :: Pool a -> Maybe a\ntake' p = go p\n  where\n    go x = x\n\n"
        "newtype Key = Key Int\nclass Monad m => Store m where\n  load :: m ()\n",
        ["Pool", "take'", "Key", "Store"],
    ),
    "a.ex": (
        'defmodule Plug.Conn do\n  @moduledoc """\n  Text.\n  """\n\n  @doc """\n  Sends.\n  """\n'
        "  def send_resp(conn), do: conn\n\n  defp halt!(conn) do\n    conn\n  end\nend\n",
        ["Plug.Conn", "Plug.Conn.send_resp", "Plug.Conn.halt!"],
    ),
    "a.rb": (
        "module Store\n  class Reader < Base\n    def self.open(path)\n    end\n\n"
        "    def closed?\n    end\n  end\nend\n",
        ["Store", "Store.Reader", "Store.Reader.open", "Store.Reader.closed?"],
    ),
    "a.kt": (
        "data class User(val name: String)\n\nobject Users {\n"
        "    suspend fun load(id: Int): User {\n"
        '        return User("")\n    }\n}\n\nfun <T> List<T>.second(): T = this[1]\n',
        ["User", "Users", "Users.load", "List"],
    ),
    "a.lua": (
        "local M = {}\nfunction M.open(path)\nend\nM.close = function()\nend\n",
        ["M.open", "M.close"],
    ),
    "a.sql": (
        "CREATE TABLE IF NOT EXISTS users (\n  id int\n);\ncreate or replace view v as select 1;\n",
        ["users", "v"],
    ),
    "a.proto": (
        "message User {\n  string name = 1;\n}\n"
        "service Users {\n  rpc Get(Id) returns (User);\n}\n",
        ["User", "Users", "Users.Get"],
    ),
    "Makefile": ("CC := gcc\n\nbuild: a.o\n\tcc a.o\n\ntest:\n\t./a\n", ["build", "test"]),
    "a.tf": (
        'resource "aws_s3_bucket" "logs" {\n}\nvariable "region" {}\n',
        ["aws_s3_bucket.logs", "region"],
    ),
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path)
def test_definitions_are_named(path: str) -> None:
    source, expected = SOURCES[path]

    assert symbols(source, path) == expected


def test_a_symbol_has_the_lines_of_its_definition() -> None:
    (chunk,) = windows(SOURCES["a.rs"][0], "a.rs")
    lines = {symbol.name: (symbol.start_line, symbol.end_line) for symbol in chunk.symbols}

    assert lines["Pool"] == (1, 3)
    assert lines["Pool.take"] == (6, 9)
    assert lines["size"] == (20, 20)


def test_windows_are_cut_at_definitions_with_their_comments() -> None:
    body = "    call();\n\n" * 12
    source = "".join(f"/// Does {n}.\n#[inline]\nfn task_{n}() {{\n{body}}}\n" for n in range(10))
    chunks = windows(source, "a.rs")

    assert len(chunks) > 2
    assert all(chunk.text.startswith("/// Does ") for chunk in chunks)
    assert chunks[1].doc.startswith("Does ")


def test_windows_stay_within_the_limit_and_cover_everything() -> None:
    source = "\n".join(f"line {n} {'x' * (n % 60)}" for n in range(1000))
    chunks = windows(source, "a.unheardof")

    assert "\n".join(chunk.text for chunk in chunks) == source
    assert max(chunk.end_line - chunk.start_line + 1 for chunk in chunks) <= MOST


def test_an_over_long_line_is_a_chunk_of_its_own() -> None:
    source = "short\n" * 30 + "word " * 900 + "\n" + "short\n" * 300
    chunks = windows(source, "a.unheardof")

    assert [c.start_line for c in chunks if "word word" in c.text] == [31]
    assert sum(c.end_line - c.start_line + 1 for c in chunks) == 331


def test_a_window_inside_a_definition_says_whose_it_is() -> None:
    body = "\n".join(f"        call({n});" for n in range(200))
    source = f"impl Pool {{\n    fn fill(&self) {{\n{body}\n    }}\n}}\n"
    last = windows(source, "a.rs")[-1]

    assert (last.symbol, last.header) == ("Pool.fill", "impl Pool {\nfn fill(&self) {")


def test_an_edit_changes_few_windows() -> None:
    source = [f"fn task_{n}() {{\n" + f"    call_{n}();\n" * 15 + "}\n" for n in range(80)]
    before = {chunk.content_hash for chunk in windows("\n".join(source), "a.rs")}
    source.insert(40, "fn brand_new() {\n" + "    call();\n" * 15 + "}\n")
    after = {chunk.content_hash for chunk in windows("\n".join(source), "a.rs")}

    assert len(after - before) <= 4


def test_prose_is_cut_at_headings_outside_of_code() -> None:
    text = "Words and words.\n" * 30
    source = (
        f"# Guide\n{text}\n## Install\n{text}```sh\n# not a heading\n```\n{text}\n## Use\n{text}"
    )
    chunks = windows(source, "a.md")

    assert {chunk.kind for chunk in chunks} == {"section"}
    assert symbols(source, "a.md") == ["Guide", "Install", "Use"]
    assert chunks[0].symbol == "Guide"


def test_elixir_docs_stay_with_their_function() -> None:
    filler = "    conn\n" * 40
    functions = "".join(
        f'  @doc """\n  Does {n}.\n  """\n  def task_{n}(conn) do\n{filler}  end\n\n'
        for n in range(4)
    )
    chunks = windows(f"defmodule A do\n{functions}end\n", "a.ex")

    assert chunks[1].text.startswith('  @doc """')
    assert chunks[1].doc == "Does 1."
    assert chunks[1].symbol == "A.task_1"
