"""What codesearch.yaml may say, what it means, and which problems are found on which line."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from codesearch_resources.settings import (
    RepositorySettings,
    Settings,
    SettingsError,
    UnknownRepository,
    find,
    load,
)

EXAMPLE = Path(__file__).parent.parent / "codesearch.example.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with repositories in it: api, web, more/api, bare.git; plain is none."""
    folder = tmp_path_factory.mktemp("settings")
    for name in ("api", "web", "more/api"):
        subprocess.run(["git", "init", "-q", str(folder / name)], check=True)
    subprocess.run(["git", "init", "-q", "--bare", str(folder / "bare.git")], check=True)
    (folder / "plain").mkdir()
    (folder / "api" / "src").mkdir()
    (folder / "file.txt").write_text("x")
    return folder


def loaded(folder: Path, text: str | bytes) -> Settings:
    file = folder / "codesearch.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(file)


def problems(folder: Path, text: str | bytes) -> list[tuple[int, str, str]]:
    with pytest.raises(SettingsError) as caught:
        loaded(folder, text)
    return [(p.line, p.key, p.message) for p in caught.value.problems]


def only(folder: Path, repository: str) -> RepositorySettings:
    (one,) = loaded(folder, f"repositories:\n  - {repository}\n").repositories
    return one


# What it means


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "~\n", "{}\n", "\ufeff", "repositories:\nembedder:\n"]
)
def test_an_empty_file_is_all_defaults(folder: Path, text: str) -> None:
    settings = loaded(folder, text)
    assert settings.file == folder / "codesearch.yaml"
    assert settings.data_dir == folder / "data"
    assert settings.dagster_home == folder / "dagster_home"
    assert settings.repositories == ()
    assert settings.embedder.kind == "embedded"
    assert [(s.name, s.kind) for s in settings.summarizers] == [("extractive", "extractive")]
    assert (settings.nightly.cron, settings.nightly.timezone) == ("0 3 * * *", "UTC")
    assert settings.trusted_hosts == settings.missing_discover == ()


def test_a_repository_says_what_it_is_given(folder: Path) -> None:
    text = "name: x, path: ./api, branch: main, root: ./src/, include: ['*.py'], local_only: false"
    assert only(folder, f"{{{text}}}") == RepositorySettings(
        name="x",
        path=folder / "api",
        branch="main",
        root="src",
        include=("*.py",),
        local_only=False,
    )


def test_a_repository_may_be_bare_and_its_root_may_be_all(folder: Path) -> None:
    one = only(folder, "{path: bare.git, root: .}")
    assert (one.name, one.path, one.root) == ("bare", folder / "bare.git", "")


def test_paths_start_at_home_or_at_the_folder_of_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder / "more"))
    monkeypatch.chdir("/")
    text = "data_dir: ~/d\nrepositories: [{path: ~/api}, {path: more/../web}]\n"
    settings = loaded(folder, text)
    assert settings.data_dir == folder / "more" / "d"
    assert [r.path for r in settings.repositories] == [folder / "more" / "api", folder / "web"]


def test_defaults_hold_for_all_and_an_entry_overrides_them(folder: Path) -> None:
    settings = loaded(
        folder,
        "defaults: {local_only: false, exclude: [a/**], include: ['*.py']}\n"
        "discover: [./web]\n"
        "repositories:\n  - {path: api, local_only: true, exclude: []}\n",
    )
    api, web = settings.repository("api"), settings.repository("web")
    assert (api.local_only, api.include, api.exclude) == (True, ("*.py",), ())
    assert (web.local_only, web.include, web.exclude) == (False, ("*.py",), ("a/**",))


def test_code_stays_on_this_machine_unless_told_otherwise(folder: Path) -> None:
    assert only(folder, "path: api").local_only


def test_default_names_come_from_folder_or_url_and_are_unique(folder: Path) -> None:
    entries = [
        "path: more/api",
        "path: api",
        "url: https://host/team/Web.Site.git",
        "url: git@host:team/web.git/",
        "{name: api, path: web}",
    ]
    text = "repositories:\n" + "".join(f"  - {entry}\n" for entry in entries)
    names = [r.name for r in loaded(folder, text).repositories]
    assert names[2:] == ["web-site", "web", "api"]
    assert len(set(names)) == 5


def test_an_entry_below_never_renames_those_above(folder: Path) -> None:
    first = only(folder, "path: api").name
    text = "repositories:\n  - path: api\n  - path: more/api\n"
    assert loaded(folder, text).repositories[0].name == first


def test_a_listed_repository_that_is_discovered_too_counts_once(folder: Path) -> None:
    link = folder / "link"
    link.symlink_to(folder / "web")
    text = "discover: [./*]\nrepositories:\n  - {name: mine, path: ./link}\n"
    settings = loaded(folder, text)
    link.unlink()
    assert {(r.name, r.discovered) for r in settings.repositories} == {
        ("mine", False),
        ("api", True),
        ("bare", True),
    }


def test_a_discover_pattern_with_a_bang_takes_back_what_was_found(folder: Path) -> None:
    settings = loaded(folder, 'discover: [./*, "!./b*"]\n')
    assert [r.name for r in settings.repositories] == ["api", "web"]
    assert all(r.discovered for r in settings.repositories)


def test_discover_patterns_without_a_match_are_noted(folder: Path) -> None:
    settings = loaded(folder, 'discover: [./api, ./none/*, "!./none"]\n')
    assert settings.missing_discover == ("./none/*",)


def test_brackets_in_the_files_own_folder_are_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "a[b]"
    subprocess.run(["git", "init", "-q", str(folder / "one")], check=True)
    assert [r.name for r in loaded(folder, "discover: ['*']\n").repositories] == ["one"]


def test_line_ends_of_windows_and_a_byte_order_mark_are_read(folder: Path) -> None:
    assert loaded(folder, "\ufeffdata_dir: ./x\r\n\r\n").data_dir == folder / "x"
    assert problems(folder, "\ufeffdata_dir: ./x\r\n\r\nnope: 1\r\n")[0][:2] == (3, "nope")


def test_an_unknown_repository_is_answered_with_near_names(folder: Path) -> None:
    settings = loaded(folder, "discover: [./*]\n")
    with pytest.raises(UnknownRepository, match="'apii'; did you mean api") as caught:
        settings.repository("apii")
    assert caught.value.near == ("api",)
    with pytest.raises(UnknownRepository, match="there are: api, bare, web"):
        settings.repository("zzz")
    with pytest.raises(UnknownRepository, match="none is configured"):
        loaded(folder, "").repository("zzz")


def test_settings_cannot_be_changed(folder: Path) -> None:
    settings = loaded(folder, "")
    with pytest.raises(ValueError, match="frozen"):
        settings.data_dir = Path("/")


# What is wrong

ODD = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(
    ["", "\n", ": ", "- ", "[", "{", "&a ", "*a", "!x ", "|", ">", "'", '"', "#", "\t", "null", "1"]
)


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        ("a: [\n\nb: 1", 3, "", "not valid YAML"),
        ("a: 1\n\tb: 2\n", 2, "", "not valid YAML"),
        ("a: 'x\n", 1, "", "not valid YAML"),
        ("\n\na: *b\n", 3, "", "undefined alias"),
        ("a: 1\n---\nb: 2\n", 2, "", "another document"),
        ("# c\nb: \x07\n", 2, "", "control character"),
        ("[" * 500, 0, "", "nested too deep"),
        ("\n- a\n", 2, "", "must be a mapping of keys"),
        ("just words\n", 1, "", "must be a mapping of keys"),
        (b"a: 1\nb: caf\xe9\n", 2, "", "is not UTF-8"),
        ("x: 1\n".encode("utf-16"), 1, "", "is not UTF-8"),
        ("data_dir: a\ndata_dir: b\n", 2, "data_dir", "the same key twice, first on line 1"),
        (
            "repositories:\n- path: api\n  root: src\n  path: web\n",
            4,
            "repositories[0].path",
            "the same key twice, first on line 2",
        ),
        ("\nrepos: []\n", 2, "repos", "unknown key; did you mean repositories?"),
        ("zzz:\n", 1, "zzz", "unknown key; there are data_dir, "),
        ("1: x\n", 1, "1", "unknown key"),
        ("? [a]\n: x\n", 1, "?", "unknown key"),
        ("<<: {data_dir: x}\n", 1, "<<", "unknown key"),
        ("defaults:\n  localonly: true\n", 2, "defaults.localonly", "did you mean local_only?"),
        ("nightly:\n  time: 3\n", 2, "nightly.time", "did you mean timezone?"),
        ("embedder: {kind: embedded, url: x}\n", 1, "embedder.url", "unknown key"),
        (
            "repositories:\n\n  - path: api\n    brunch: x\n",
            4,
            "repositories[0].brunch",
            "did you mean branch?",
        ),
        ("data_dir: 7\n", 1, "data_dir", "must be text"),
        ("data_dir: ''\n", 1, "data_dir", "must not be empty"),
        ('data_dir: "a\\0b"\n', 1, "data_dir", "control character"),
        ("data_dir: !x y\n", 1, "data_dir", "must be text"),
        ("data_dir: [a]\n", 1, "data_dir", "must be text"),
        ("defaults: {local_only: yes}\n", 1, "defaults.local_only", "must be true or false"),
        ("defaults:\n  local_only: 1\n", 2, "defaults.local_only", "must be true or false"),
        ("defaults: [a]\n", 1, "defaults", "must be a mapping of keys"),
        ("discover: ~/src/*\n", 1, "discover", "must be a list"),
        ("discover:\n  - ~/src/*\n  - 1\n", 3, "discover[1]", "must be text"),
        ("discover: &a [*a]\n", 1, "discover[0]", "must be text"),
        ("discover:\n  - 'a['\n", 2, "discover[0]", "bad pattern"),
        ("repositories: {}\n", 1, "repositories", "must be a list"),
        ("repositories:\n  - api\n", 2, "repositories[0]", "must be a mapping of keys"),
        ("repositories:\n  -\n\nnightly: {}\n", 2, "repositories[0]", "must be a mapping of keys"),
        (
            "repositories:\n- path: api\n  branch: 1.0\n",
            3,
            "repositories[0].branch",
            "must be text; put it in quotes",
        ),
        (
            "repositories:\n- path: api\n  branch: 2024-01-01\n",
            3,
            "repositories[0].branch",
            "must be text",
        ),
        ("repositories:\n- {path: api, branch: a b}\n", 2, "repositories[0].branch", "name of a"),
        (
            "repositories:\n\n- path: ./nope\n",
            3,
            "repositories[0].path",
            "no such folder: ./nope",
        ),
        ("repositories:\n- path: https://h/x\n", 2, "repositories[0].path", "is a URL"),
        ("repositories:\n- path: file.txt\n", 2, "repositories[0].path", "is a file: file.txt"),
        ("repositories:\n- path: plain\n", 2, "repositories[0].path", "not a git repository"),
        ("repositories:\n- path: api/src\n", 2, "repositories[0].path", "this folder as root"),
        ("repositories:\n- root: x\n", 2, "repositories[0]", "needs a path or a url"),
        (
            "repositories:\n- path: api\n  url: https://h/x\n",
            2,
            "repositories[0]",
            "has both path and url",
        ),
        ("repositories:\n- {path: api, name: a.b}\n", 2, "repositories[0].name", "; try a-b"),
        ("repositories:\n- {path: api, name: 'a,b'}\n", 2, "repositories[0].name", "; try a-b"),
        ("repositories:\n- {path: api, name: Api}\n", 2, "repositories[0].name", "; try api"),
        ("repositories:\n- {path: api, name: -a}\n", 2, "repositories[0].name", "; try a"),
        ("repositories:\n- {path: api, name: ''}\n", 2, "repositories[0].name", "a-z"),
        (f"repositories:\n- {{path: api, name: {'a' * 101}}}\n", 2, "repositories[0].name", "100"),
        (
            "repositories:\n- path: api\n  name: x\n- path: web\n  name: x\n",
            5,
            "repositories[1].name",
            "two are named x, the other on line 3",
        ),
        ("repositories:\n- {path: api, root: ../x}\n", 2, "repositories[0].root", "inside the"),
        ("repositories:\n- {path: api, root: a/../..}\n", 2, "repositories[0].root", "inside the"),
        ("repositories:\n- {path: api, root: /etc}\n", 2, "repositories[0].root", "inside the"),
        ("repositories:\n- {path: api, root: 'a\\b'}\n", 2, "repositories[0].root", "with /"),
        (
            "repositories:\n- path: api\n  exclude:\n  - a/**\n  - 'b['\n",
            5,
            "repositories[0].exclude[1]",
            "[ without ]: b[",
        ),
        ("defaults:\n  include: ['!a']\n", 2, "defaults.include[0]", "cannot begin with !"),
        ("defaults:\n  include: [a/../../b]\n", 2, "defaults.include[0]", "cannot leave"),
        ("defaults:\n  include: ['# x']\n", 2, "defaults.include[0]", "matches nothing"),
        ("defaults:\n  include: ['']\n", 2, "defaults.include[0]", "must not be empty"),
        ("repositories:\n- url: ./api\n", 2, "repositories[0].url", "a folder goes into path"),
        ("repositories:\n- url: ext::sh -c x\n", 2, "repositories[0].url", "URL git can clone"),
        ("repositories:\n- url: --upload-pack=x\n", 2, "repositories[0].url", "URL git can"),
        ("nightly:\n  cron: 0 3 * *\n", 2, "nightly.cron", "must have 5 fields"),
        ("nightly: {cron: '@daily'}\n", 1, "nightly.cron", "must have 5 fields"),
        ("nightly: {cron: 60 3 * * *}\n", 1, "nightly.cron", "minute: must be 0 to 59: 60"),
        ("nightly: {cron: 0 24 * * *}\n", 1, "nightly.cron", "hour: must be 0 to 23: 24"),
        ("nightly: {cron: 0 3 0 * *}\n", 1, "nightly.cron", "day of the month: must be 1 to 31"),
        ("nightly: {cron: 0 3 * foo *}\n", 1, "nightly.cron", "month: must be 1 to 12: foo"),
        ("nightly: {cron: 0 3 * * 8}\n", 1, "nightly.cron", "day of the week: must be 0 to 7"),
        ("nightly: {cron: '0 3 * * 1,'}\n", 1, "nightly.cron", "nothing"),
        ("nightly: {cron: 5-1 3 * * *}\n", 1, "nightly.cron", "ends before it begins"),
        ("nightly: {cron: '*/0 3 * * *'}\n", 1, "nightly.cron", "no such step"),
        ("nightly: {cron: 0 3 30 2 *}\n", 1, "nightly.cron", "never comes"),
        ("nightly: {cron: 0 3 31 4-4 mon}\n", 1, "nightly.cron", "never comes"),
        ("nightly:\n  timezone: Europe/Berln\n", 2, "nightly.timezone", "mean Europe/Berlin?"),
        ("nightly: {timezone: Europe}\n", 1, "nightly.timezone", "no such time zone"),
        ("nightly: {timezone: /etc/localtime}\n", 1, "nightly.timezone", "no such time zone"),
        ("embedder: embedded\n", 1, "embedder", "must be a mapping"),
        ("embedder: {}\n", 1, "embedder.kind", "is missing"),
        (
            "embedder:\n  kind: olama\n",
            2,
            "embedder.kind",
            "there is no such kind; there is 'embedded', 'ollama', 'openai_compatible'",
        ),
        (
            "summarizers:\n- {name: a, kind: extractive}\n- {name: b, kind: openai}\n",
            3,
            "summarizers[1].kind",
            "there is no such kind; there is 'extractive'",
        ),
        ("summarizers:\n- kind: extractive\n", 2, "summarizers[0].name", "is missing"),
        ("summarizers: []\n", 1, "summarizers", "must not be empty"),
        (
            "summarizers:\n- {name: a, kind: extractive}\n- {name: a, kind: extractive}\n",
            3,
            "summarizers[1].name",
            "two are named a, the other on line 2",
        ),
        ("trusted_hosts:\n- http://box\n", 2, "trusted_hosts[0]", "must be a host name"),
        ("data_dir: ./d\ndagster_home: d/\n", 2, "dagster_home", "the same folder as data_dir"),
        ("# c\ndata_dir: dagster_home\n", 2, "data_dir", "the same folder as dagster_home"),
        ("data_dir: file.txt\n", 1, "data_dir", "is a file, not a folder"),
    ],
)
def test_a_problem_is_told_with_its_line_and_key(
    folder: Path, text: str | bytes, line: int, key: str, message: str
) -> None:
    (found,) = problems(folder, text)
    assert found[:2] == (line, key)
    assert message in found[2]


def test_all_problems_come_at_once_in_the_order_of_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    text = (
        "nightly: {cron: x}\n"
        "repositories:\n"
        "  - name: A\n"
        "    path: ~/no/such\n"
        "  - pth: api\n"
        "embeder: {}\n"
    )
    with pytest.raises(SettingsError) as caught:
        loaded(folder, text)
    assert str(caught.value).splitlines() == [
        "codesearch.yaml:1: nightly.cron: must have 5 fields, such as 0 3 * * *, and has 1: x",
        "codesearch.yaml:3: repositories[0].name: must be up to 100 of a-z, 0-9, _ and -, "
        "and not begin with -; try a",
        "codesearch.yaml:4: repositories[0].path: no such folder: ~/no/such",
        "codesearch.yaml:5: repositories[1]: needs a path or a url",
        "codesearch.yaml:5: repositories[1].pth: unknown key; did you mean path?",
        "codesearch.yaml:6: embeder: unknown key; did you mean embedder?",
    ]


def test_a_file_that_is_missing_or_a_folder_or_unreadable_is_told(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"nope\.yaml: no such file"):
        load(folder / "nope.yaml")
    with pytest.raises(SettingsError, match="is a folder, not a file"):
        load(folder / "plain")
    with pytest.raises(SettingsError, match="cannot be read: Not a directory"):
        load(folder / "file.txt" / "codesearch.yaml")
    loop = folder / "loop.yaml"
    loop.symlink_to(loop)
    with pytest.raises(SettingsError, match="cannot be read"):
        load(loop)
    loop.unlink()


SECRET = "repositories:\n- url: https://me:s3cret@host/x.git\n"


def test_a_url_with_a_password_is_taken_but_not_shown(folder: Path) -> None:
    (one,) = loaded(folder, SECRET).repositories
    assert one.url == "https://me:s3cret@host/x.git"
    assert "s3cret" not in repr(one)
    assert "s3cret" not in repr(loaded(folder, SECRET))


@pytest.mark.parametrize(
    "text",
    [
        SECRET + "  path: api\n",
        SECRET + "  branch: [\n",
        SECRET.replace(".git", " x.git"),
        SECRET.replace("url: ", "url:"),
        SECRET.replace("url: ", "url:").replace(".git", ": y"),
        SECRET.replace("url", "path: api\n  branch"),
        SECRET.replace("url: ", "url: &a ") + "- url: *b\n",
        SECRET.replace("url", "path"),
        SECRET.replace("url", "name"),
        SECRET.replace("url", "name") + SECRET.partition("\n")[2].replace("url", "name"),
        SECRET.replace("url: ", "url:").replace(".git", ": y")
        + "  url:https://me:s3cret@host/x: z",
    ],
)
def test_no_problem_shows_a_password(folder: Path, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(folder, text)
    assert "s3cret" not in str(caught.value)


@settings_of_hypothesis(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_the_file_holds_it_is_settings_or_problems(
    folder: Path, data: st.DataObject
) -> None:
    text = EXAMPLE.read_text()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 6))
        text = text[:start] + data.draw(ODD) + text[end:]
    with suppress(SettingsError):
        assert isinstance(loaded(folder, text), Settings)


# Where it is


def test_the_file_is_found_by_option_environment_folder_and_user(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    config = tmp_path / "config"
    (config / "codesearch").mkdir(parents=True)
    deep.mkdir(parents=True)
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(config)}
    assert find(env=env, cwd=deep) is None
    users = config / "codesearch" / "codesearch.yaml"
    users.touch()
    assert find(env=env, cwd=deep) == users
    (tmp_path / "codesearch.yaml").touch()
    assert find(env=env, cwd=deep) == tmp_path / "codesearch.yaml"
    (deep / "codesearch.yaml").mkdir()
    assert find(env=env, cwd=deep) == tmp_path / "codesearch.yaml"
    named = {**env, "CODESEARCH_CONFIG": "other.yaml"}
    assert find(env=named, cwd=deep) == deep / "other.yaml"
    assert find("../third.yaml", env=named, cwd=deep) == tmp_path / "a" / "third.yaml"


def test_the_users_folder_is_below_home_without_an_absolute_xdg_folder(tmp_path: Path) -> None:
    file = tmp_path / ".config" / "codesearch" / "codesearch.yaml"
    file.parent.mkdir(parents=True)
    file.touch()
    for xdg in ({}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "relative"}):
        assert find(env={"HOME": str(tmp_path), **xdg}, cwd=tmp_path) == file


def test_a_linked_file_counts_from_where_the_link_is(folder: Path, tmp_path: Path) -> None:
    loaded(folder, "")
    link = tmp_path / "codesearch.yaml"
    link.symlink_to(folder / "codesearch.yaml")
    assert load(link).data_dir == tmp_path / "data"


# The example, and the cost


def test_the_example_is_valid_and_shows_every_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder / "home"))
    subprocess.run(["git", "init", "-q", str(folder / "home" / "src" / "api")], check=True)
    text = EXAMPLE.read_text()
    settings = loaded(folder, text)
    assert [r.name for r in settings.repositories] == ["api", "website"]
    assert settings.missing_discover == ()
    keys = {*Settings.model_fields, "defaults", "discover"} - {"file", "missing_discover"}
    shown = {line.split(":")[0] for line in text.splitlines() if line[:1].isalpha()}
    assert shown == keys
    for key in RepositorySettings.model_fields.keys() - {"discovered"}:
        assert f"{key}: " in text


def test_importing_settings_leaves_the_yaml_parser_alone() -> None:
    code = "import sys, codesearch_resources.settings; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=EXAMPLE.parent,
    )
    imported = set(done.stdout.split())
    assert not imported & {"ruamel.yaml", "pathspec", "lancedb", "dagster", "filelock"}
