"""What looks like a secret. Each sample is put together here, so that none stands in this file."""

import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesearch_resources import secrets

LETTERS = string.ascii_letters + string.digits


def drawn(length: int, letters: str = LETTERS, seed: int = 7) -> str:
    """A text that looks drawn: letters and digits mixed."""
    return "".join(random.Random(seed).choices(letters, k=length))


HEX, UPPER, BASE32 = "0123456789abcdef", string.ascii_uppercase + string.digits, "ABCDEFGH234567"
SAMPLES = {
    "private-key": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + drawn(64),
    "putty-key": "PuTTY-User-Key-" + "File-3: ssh-ed25519",
    "age-key": "AGE-SECRET-" + "KEY-1" + drawn(58, UPPER),
    "aws-key-id": "AK" + "IA" + drawn(16, BASE32),
    "aws-secret-key": "aws_secret_access_key = " + drawn(40),
    "github-token": "gh" + "p_" + drawn(36),
    "github-pat": "github" + "_pat_" + drawn(22) + "_" + drawn(59),
    "gitlab-token": "gl" + "pat-" + drawn(20),
    "slack-token": "xox" + "b-" + drawn(12, "123456") + "-" + drawn(24),
    "slack-app-token": "xa"
    + "pp-1-"
    + drawn(11, UPPER)
    + "-"
    + drawn(13, "12345")
    + "-"
    + "a1" * 20,
    "slack-webhook": "https://hooks.slack" + ".com/services/T" + drawn(8) + "/B" + drawn(30),
    "discord-webhook": "https://discord"
    + ".com/api/webhooks/"
    + drawn(18, "123456")
    + "/"
    + drawn(68),
    "stripe-key": "sk_" + "live_" + drawn(24),
    "openai-key": "sk-" + "proj-" + drawn(80),
    "anthropic-key": "sk-" + "ant-api03-" + drawn(80),
    "openrouter-key": "sk-" + "or-v1-" + drawn(64, HEX),
    "google-key": "AI" + "za" + drawn(35),
    "google-oauth": "GOC" + "SPX-" + drawn(28),
    "azure-storage-key": "Account" + "Key=" + drawn(86) + "==",
    "azure-secret": drawn(3) + "8Q" + "~" + drawn(34),
    "npm-token": "np" + "m_" + drawn(36),
    "pypi-token": "pypi-" + "AgEIcHlwaS5vcmc" + drawn(60),
    "rubygems-token": "ruby" + "gems_" + drawn(48, HEX),
    "docker-token": "dckr" + "_pat_" + drawn(27),
    "digitalocean-token": "dop" + "_v1_" + drawn(64, HEX),
    "huggingface-token": "hf" + "_" + drawn(34, string.ascii_letters),
    "sendgrid-key": "S" + "G." + drawn(22) + "." + drawn(43),
    "telegram-token": drawn(9, "123456789") + ":" + "AA" + drawn(33),
    "shopify-token": "shp" + "at_" + drawn(32, HEX),
    "databricks-token": "da" + "pi" + drawn(32, HEX),
    "vault-token": "hv" + "s." + drawn(24),
    "grafana-token": "gl" + "sa_" + drawn(32) + "_" + drawn(8, HEX),
    "linear-key": "lin" + "_api_" + drawn(40),
    "tailscale-key": "ts" + "key-auth-" + drawn(12) + "-" + drawn(32),
    "sentry-token": "sn" + "trys_" + drawn(70),
    "newrelic-key": "NR" + "AK-" + drawn(27, UPPER),
    "web-token": "ey" + "J" + drawn(20) + ".ey" + "J" + drawn(30) + "." + drawn(40),
    "url-login": "postgres://svc:" + drawn(12) + "@db.internal:5432/app",
    "assigned-secret": 'PASSWORD = "' + drawn(20) + '"',
    "auth-header": "Authorization: Bearer " + drawn(40),
}


@pytest.mark.parametrize("rule", SAMPLES)
def test_each_rule_finds_its_form_in_code(rule: str) -> None:
    sample = SAMPLES[rule]
    assert rule in secrets.find(
        f"client = connect(\n    '{sample}',\n)" if "'" not in sample else sample
    )
    assert rule in secrets.find(sample)


def test_every_rule_has_a_sample() -> None:
    assert {rule.name for rule in secrets.RULES} < set(SAMPLES)
    assert len(SAMPLES) >= 30


@pytest.mark.parametrize(
    "code",
    [
        'password = "changeme-please-now"',
        'password = os.environ["DATABASE_PASSWORD"]',
        'token = "<your-token-goes-here>"',
        'secret_key = "${SECRET_KEY_FROM_VAULT}"',
        'API_KEY = "your_api_key_goes_here_1"',
        "api_key = get_settings().api_key",
        'token_url = "https://auth.example.com/oauth2/token"',
        'AUTH_TOKEN_HEADER = "X-Auth-Token-Header2"',
        'TOKEN_TYPE = "urn:ietf:params:oauth:token-type:jwt"',
        'password_field = "user.password.first_attempt_v2"',
        'SECRET_NAME = "projects/api/secrets/db12/versions"',
        'sha = "d670460b4b4aece5915caf5c68d12f560a9fe3e4"',
        'integrity = "sha512-oHg5SJYRHA0wKkqRnGzzh1GzBqTzMQ=="',
        "postgres://user:password@localhost/test",
        "postgres://user:${DB_PASS}@localhost/db",
        "https://user:xxxxx@example.com/",
        "git clone https://github.com/a/b.git",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "-----BEGIN " + "PUBLIC KEY-----\n" + drawn(64),
        'if line.startswith("-----BEGIN RSA PRIVATE KEY-----"): return',
        "Authorization: Bearer <token>",
        "def basic_authentication_with_password(user): ...",
        "task-queue sk-something ask-for-more-of-this-text",
        "tokens = tokenize(text)  # 'a b c d e f g h i j'",
        "key = 'aaaaaaaaaaaaaaaaaaaaaaaa'",
    ],
)
def test_what_is_written_by_people_is_no_secret(code: str) -> None:
    assert secrets.find(code) == []


def test_a_password_of_ones_own_in_a_url_counts() -> None:
    assert secrets.find("amqp://svc:hunter2hunter@mq.internal:5672") == ["url-login"]


def test_redact_leaves_no_key() -> None:
    for rule in secrets.RULES:
        sample = SAMPLES[rule.name]
        shown = secrets.redact(f"said: {sample} and more")
        assert sample[-12:] not in shown, rule.name
        assert "and more" in shown or rule.name == "private-key"
    assert "abc" not in secrets.redact("wrong key sk-" + "abc***xyz")


@given(st.text(max_size=400))
def test_any_text_is_scanned(text: str) -> None:
    assert secrets.find(text) == sorted(set(secrets.find(text)))


@pytest.mark.parametrize(
    "text",
    ["a" * 200_000, "://" + "a:" * 50_000, "password " * 20_000, "eyJ" * 60_000, "AKIA" * 50_000],
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    secrets.find(text)
    secrets.redact(text)
    assert time.process_time() - began < 2
