"""Languages, one row each: how their files are told, and how they are cut.

A language without a grammar is cut into line windows at the definitions that its `patterns` find
(rows of `patterns.PATTERNS`).
"""

import re
from dataclasses import dataclass
from functools import cache

from codesearch_assets.chunking.grammar import Grammar
from codesearch_assets.chunking.grammars.c_family import CPP, C
from codesearch_assets.chunking.grammars.csharp import CSHARP
from codesearch_assets.chunking.grammars.data import JSON, TOML, YAML
from codesearch_assets.chunking.grammars.functional import ELIXIR, HASKELL
from codesearch_assets.chunking.grammars.go import GO
from codesearch_assets.chunking.grammars.javascript import JAVASCRIPT, TSX, TYPESCRIPT
from codesearch_assets.chunking.grammars.jvm import JAVA, KOTLIN, SCALA
from codesearch_assets.chunking.grammars.markup import CSS, HTML, MARKDOWN
from codesearch_assets.chunking.grammars.python import PYTHON
from codesearch_assets.chunking.grammars.rust import RUST
from codesearch_assets.chunking.grammars.scripts import BASH, LUA, PHP, RUBY
from codesearch_assets.chunking.grammars.sql import SQL
from codesearch_assets.chunking.grammars.swift import SWIFT
from codesearch_assets.chunking.grammars.zig import ZIG


@dataclass(frozen=True, slots=True)
class Language:
    """One language.

    extensions: separated by blanks, without a dot, lower case. filenames: whole names, lower case.
    shebangs: interpreters. data: a data format, not indexed above a much lower size.
    prose: documentation by nature. patterns: names of rows in `patterns.PATTERNS`.
    """

    name: str
    extensions: str = ""
    filenames: str = ""
    shebangs: str = ""
    patterns: str = ""
    data: bool = False
    prose: bool = False
    grammar: Grammar | None = None


LANGUAGES = (
    Language(
        "python",
        "py pyi pyw",
        "sconstruct sconscript",
        "python python3 python2",
        "keyword type",
        grammar=PYTHON,
    ),
    Language(
        "javascript",
        "js jsx mjs cjs es6",
        "jakefile",
        "node nodejs deno bun",
        "keyword type arrow",
        grammar=JAVASCRIPT,
    ),
    Language(
        "typescript", "ts mts cts", "", "ts-node tsx", "keyword type arrow", grammar=TYPESCRIPT
    ),
    Language("tsx", "tsx", "", "", "keyword type arrow", grammar=TSX),
    Language("go", "go", "", "", "keyword type", grammar=GO),
    Language("rust", "rs", "", "rust-script", "keyword type impl macro_rules", grammar=RUST),
    Language("java", "java", "", "", "type method", grammar=JAVA),
    Language("kotlin", "kt kts", "", "kotlin", "keyword type", grammar=KOTLIN),
    Language("scala", "scala sc sbt", "", "scala", "keyword type", grammar=SCALA),
    Language("groovy", "groovy gradle gvy", "jenkinsfile", "groovy", "keyword type method"),
    Language("c", "c h", "", "", "c_function method type typedef define", grammar=C),
    Language(
        "cpp",
        "cc cpp cxx c++ hh hpp hxx h++ ipp inl tcc cu cuh",
        "",
        "",
        "c_function method type typedef define",
        grammar=CPP,
    ),
    Language("objective-c", "m mm", "", "", "c_function type objc define"),
    Language("csharp", "cs csx", "", "", "type method", grammar=CSHARP),
    Language("fsharp", "fs fsi fsx", "", "", "let type"),
    Language("swift", "swift", "", "swift", "keyword type swift_init", grammar=SWIFT),
    Language("dart", "dart", "", "dart", "c_function method type"),
    Language("php", "php phtml php8", "", "php", "keyword type", grammar=PHP),
    Language(
        "ruby",
        "rb rake gemspec ru podspec",
        "rakefile gemfile podfile vagrantfile brewfile",
        "ruby",
        "keyword type",
        grammar=RUBY,
    ),
    Language("perl", "pl pm t", "", "perl", "keyword perl"),
    Language("lua", "lua", "", "lua luajit", "keyword lua", grammar=LUA),
    Language("r", "r", ".rprofile", "Rscript", "r"),
    Language("julia", "jl", "", "julia", "keyword type"),
    Language(
        "bash",
        "sh bash zsh ksh bats",
        ".bashrc .zshrc .profile .bash_profile",
        "sh bash zsh ksh dash ash bats",
        "shell",
        grammar=BASH,
    ),
    Language("fish", "fish", "", "fish", "keyword"),
    Language("powershell", "ps1 psm1 psd1", "", "pwsh", "keyword type"),
    Language("batch", "bat cmd", "", "", ""),
    Language("haskell", "hs hsc", "", "runhaskell stack", "haskell haskell_type", grammar=HASKELL),
    Language("literate-haskell", "lhs", "", "", "haskell haskell_type"),
    Language("elm", "elm", "", "", "haskell haskell_type"),
    Language("purescript", "purs", "", "", "haskell haskell_type"),
    Language("ocaml", "ml mli", "", "ocaml", "let type"),
    Language("elixir", "ex exs", "", "elixir", "keyword type exunit", grammar=ELIXIR),
    Language("erlang", "erl hrl", "", "escript", "erlang"),
    Language("clojure", "clj cljs cljc edn", "", "clojure bb", "lisp"),
    Language("lisp", "lisp lsp cl el scm ss rkt", "", "guile sbcl racket", "lisp"),
    Language("zig", "zig", "", "", "keyword zig", grammar=ZIG),
    Language("nim", "nim nims", "", "nim", "keyword"),
    Language("crystal", "cr", "", "crystal", "keyword type"),
    Language("d", "d", "", "", "c_function method type"),
    Language("v", "vv", "", "", "keyword type"),
    Language("solidity", "sol", "", "", "keyword type"),
    Language("verilog", "v sv svh vh", "", "", "keyword type"),
    Language("vhdl", "vhd vhdl", "", "", "vhdl"),
    Language("fortran", "f f90 f95 f03 f08 for", "", "", "fortran"),
    Language("pascal", "pas pp dpr", "", "", "fortran"),
    Language("ada", "adb ads", "", "", "fortran"),
    Language("cobol", "cob cbl", "", "", ""),
    Language("assembly", "asm s", "", "", "label"),
    Language("cuda", "", "", "", "c_function method type"),
    Language("glsl", "glsl vert frag comp hlsl wgsl metal", "", "", "c_function type keyword"),
    Language("sql", "sql psql ddl", "", "", "sql", grammar=SQL),
    Language("graphql", "graphql gql graphqls", "", "", "type graphql"),
    Language("protobuf", "proto", "", "", "type proto"),
    Language("thrift", "thrift", "", "", "type proto"),
    Language("terraform", "tf tfvars hcl", "", "", "hcl"),
    Language("nix", "nix", "", "", ""),
    Language(
        "starlark",
        "bzl bazel star",
        "build workspace build.bazel workspace.bazel tiltfile",
        "",
        "keyword",
    ),
    Language("cmake", "cmake", "cmakelists.txt", "", "cmake"),
    Language("make", "mk mak", "makefile gnumakefile", "make", "make"),
    Language("just", "just", "justfile .justfile", "just", "make"),
    Language("meson", "", "meson.build meson_options.txt", "", ""),
    Language("dockerfile", "dockerfile", "dockerfile containerfile", "", ""),
    Language("awk", "awk", "", "awk gawk", "keyword"),
    Language("tcl", "tcl", "", "tclsh", "keyword"),
    Language("vim", "vim vimrc", ".vimrc", "", "keyword"),
    Language("vue", "vue", "", "", "keyword type arrow"),
    Language("svelte", "svelte", "", "", "keyword type arrow"),
    Language("astro", "astro", "", "", "keyword type arrow"),
    Language("html", "html htm xhtml", data=True, grammar=HTML),
    Language(
        "template", "j2 jinja jinja2 hbs handlebars mustache ejs erb twig tmpl liquid haml pug"
    ),
    Language("css", "css", data=True, grammar=CSS),
    Language("scss", "scss sass less styl", data=True),
    Language(
        "json",
        "json jsonc json5 geojson webmanifest",
        ".babelrc .eslintrc .prettierrc",
        data=True,
        grammar=JSON,
    ),
    Language("jsonl", "jsonl ndjson", data=True),
    Language("notebook", "ipynb"),
    Language("yaml", "yaml yml", ".clang-format .clang-tidy", data=True, grammar=YAML),
    Language("toml", "toml", data=True, patterns="ini", grammar=TOML),
    Language(
        "ini",
        "ini cfg conf properties env editorconfig",
        ".gitconfig .gitmodules .npmrc",
        data=True,
        patterns="ini",
    ),
    Language(
        "xml",
        "xml xsd xsl xslt plist csproj vbproj fsproj props targets resx xaml storyboard xib",
        data=True,
    ),
    Language("svg", "svg", data=True),
    Language("csv", "csv tsv psv", data=True),
    Language("diff", "diff patch", data=True),
    Language("text", "txt text log", data=True),
    Language("ignore", "", ".gitignore .dockerignore .npmignore .eslintignore .prettierignore"),
    Language(
        "markdown", "md markdown mdx mkd qmd rmd", prose=True, patterns="heading", grammar=MARKDOWN
    ),
    Language("restructuredtext", "rst", prose=True),
    Language("asciidoc", "adoc asciidoc", prose=True, patterns="heading"),
    Language("org", "org", prose=True, patterns="heading"),
    Language("tex", "tex sty cls bib", prose=True, patterns="tex"),
)

BY_NAME = {language.name: language for language in LANGUAGES}
_BY_EXTENSION = {e: row for row in LANGUAGES for e in row.extensions.split()}
_BY_FILENAME = {f: row for row in LANGUAGES for f in row.filenames.split()}
_BY_SHEBANG = {s: row for row in LANGUAGES for s in row.shebangs.split()}
_SHEBANG = re.compile(rb"#!\s*(?:\S*/)?(?:env\s+(?:-S\s+)?(?:\w+=\S*\s+)*)?(?:\S*/)?([\w.+-]+)")
_VERSION = re.compile(r"[\d.]+$")
_CPP_HEADER = re.compile(
    rb"^[ \t]*(?:class[ \t]+\w|namespace\b|template[ \t]*<|using[ \t]+namespace\b"
    rb"|(?:public|private|protected)[ \t]*:)",
    re.MULTILINE,
)
_OBJECTIVE_C_HEADER = re.compile(rb"^@(?:interface|protocol|class|import)\b", re.MULTILINE)
BINARY = "binary"


def of_name(name: str) -> str:
    """The language of a file name (no folders): a row's name, "text", `BINARY`, or "" if unknown.

    >>> of_name("Makefile"), of_name("a.tar.gz"), of_name("run")
    ('make', 'binary', '')
    """
    lower = name.lower()
    row = _BY_FILENAME.get(lower)
    if row is None:
        stem, dot, extension = lower.rpartition(".")
        row = _BY_EXTENSION.get(extension) if dot else None
        if row is None and not (dot and stem):
            row = _BY_FILENAME.get(lower.split("-")[0])
        if row is None and dot:
            return _identified(name, extension)
        if row is None:
            return _identified(name, "")
    return row.name


def of_shebang(data: bytes) -> str:
    """The language of a script's first line, or ""."""
    found = _SHEBANG.match(data[:200])
    if not found:
        return ""
    program = found.group(1).decode("ascii", "replace")
    row = _BY_SHEBANG.get(program) or _BY_SHEBANG.get(_VERSION.sub("", program))
    return row.name if row else ""


def of_header(data: bytes) -> str:
    """Which language of C's family a .h file is written in."""
    if _OBJECTIVE_C_HEADER.search(data):
        return "objective-c"
    return "cpp" if _CPP_HEADER.search(data) else "c"


def _identified(name: str, extension: str) -> str:
    """What `identify` says; by extension where there is one, so that the answer can be kept."""
    return _by_tags(f"x.{extension}") or _by_tags(name) if extension else _by_tags(name)


@cache
def _by_tags(name: str) -> str:
    from identify.identify import tags_from_filename

    tags = tags_from_filename(name)
    if "binary" in tags and "text" not in tags:
        return BINARY
    known = sorted(tags & BY_NAME.keys())
    return known[0] if known else "text" if "text" in tags else ""
