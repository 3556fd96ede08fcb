"""What looks like a secret in a text, by rules of high precision: known forms of issued keys, and
literals of high entropy that are assigned to a name such as `password`.

A rule's words are looked for first, so that a text without any costs microseconds. Only names of
rules are ever given out, never what was found.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One form of a secret. `words`: one of them is in every text that matches (lower case)."""

    name: str
    words: tuple[str, ...]
    pattern: re.Pattern[str]


def _rule(name: str, words: str, pattern: str) -> Rule:
    return Rule(name, tuple(words.split()), re.compile(pattern))


_END = r"(?![A-Za-z0-9_-])"
RULES = (
    _rule(
        "private-key",
        "-----begin",
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
        r"(?:\\n|\s|\"|')*[A-Za-z0-9+/]{16}[^-]*",
    ),
    _rule("putty-key", "putty-user-key-file", r"PuTTY-User-Key-File-\d: "),
    _rule("age-key", "age-secret-key-", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    _rule("aws-key-id", "akia asia abia acca", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    _rule(
        "aws-secret-key",
        "aws",
        r"(?i)aws_?(?:secret)?_?(?:access)?_?(?:secret|key)\w*['\"]?\s*[:=]+>?\s*['\"]?"
        r"(?=[A-Za-z/+]*\d)[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
    ),
    _rule("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b"),
    _rule("github-pat", "github_pat_", r"\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b"),
    _rule(
        "gitlab-token",
        "glpat- gldt- glrt- glptt- glcbt- glsoat-",
        r"\bgl(?:pat|dt|rt|ptt|cbt|soat)-[A-Za-z0-9_-]{20,}",
    ),
    _rule(
        "slack-token",
        "xoxa- xoxb- xoxe xoxp- xoxr- xoxs-",
        r"\bxox[abeprs][-.]\d[A-Za-z0-9-]{18,}",
    ),
    _rule("slack-app-token", "xapp-", r"\bxapp-\d-[A-Z0-9]+-\d+-[a-z0-9]{32,}"),
    _rule(
        "slack-webhook",
        "hooks.slack.com",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/T[A-Za-z0-9_]+/[A-Za-z0-9_/+-]{20,}",
    ),
    _rule(
        "discord-webhook",
        "/api/webhooks/",
        r"discord(?:app)?\.com/api/webhooks/\d{17,20}/[A-Za-z0-9_-]{60,}",
    ),
    _rule(
        "stripe-key",
        "sk_live_ rk_live_ sk_test_ whsec_",
        r"\b(?:[sr]k_(?:live|test)|whsec)_[A-Za-z0-9]{24,}",
    ),
    _rule(
        "openai-key",
        "t3blbkfj sk-proj- sk-svcacct- sk-admin-",
        r"\bsk-(?:(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,}"
        r"|[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,})",
    ),
    _rule("anthropic-key", "sk-ant-", r"\bsk-ant-[a-z]+\d\d-[A-Za-z0-9_-]{40,}"),
    _rule("openrouter-key", "sk-or-", r"\bsk-or-v1-[0-9a-f]{64}\b"),
    _rule("google-key", "aiza", r"\bAIza[0-9A-Za-z_-]{35}" + _END),
    _rule(
        "google-oauth",
        "gocspx- ya29.",
        r"\b(?:GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{60,})",
    ),
    _rule("azure-storage-key", "accountkey", r"(?i)accountkey=[A-Za-z0-9+/]{86}=="),
    _rule("azure-secret", "q~", r"(?<![\w~.-])[\w~.-]{3}\dQ~[\w~.-]{31,34}(?![\w~.-])"),
    _rule("npm-token", "npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
    _rule("pypi-token", "pypi-ageichlwas5vcmc", r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}"),
    _rule("rubygems-token", "rubygems_", r"\brubygems_[0-9a-f]{48}\b"),
    _rule("docker-token", "dckr_pat_ dckr_oat_", r"\bdckr_[po]at_[A-Za-z0-9_-]{27,}"),
    _rule("digitalocean-token", "dop_v1_ doo_v1_ dor_v1_", r"\bdo[opr]_v1_[0-9a-f]{64}\b"),
    _rule("huggingface-token", "hf_", r"\bhf_[A-Za-z]{34}\b"),
    _rule("sendgrid-key", "sg.", r"\bSG\.[\w-]{22}\.[\w-]{43}" + _END),
    _rule("telegram-token", ":aa", r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}" + _END),
    _rule(
        "shopify-token",
        "shpat_ shpca_ shppa_ shpss_",
        r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b",
    ),
    _rule("databricks-token", "dapi", r"\bdapi[0-9a-f]{32}\b"),
    _rule("vault-token", "hvs. hvb.", r"\bhv[sb]\.[A-Za-z0-9_-]{24,}"),
    _rule(
        "grafana-token",
        "glsa_ glc_",
        r"\bgl(?:sa_[A-Za-z0-9]{32}_[0-9a-f]{8}|c_[A-Za-z0-9+/]{60,})",
    ),
    _rule("linear-key", "lin_api_", r"\blin_api_[A-Za-z0-9]{40}\b"),
    _rule("tailscale-key", "tskey-", r"\btskey-[a-z]+-[A-Za-z0-9]+-[A-Za-z0-9]{20,}"),
    _rule("sentry-token", "sntrys_ sntryu_", r"\bsntry[su]_[A-Za-z0-9+/=_]{60,}"),
    _rule("newrelic-key", "nrak-", r"\bNRAK-[A-Z0-9]{27}\b"),
    _rule(
        "web-token",
        "eyj",
        r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}",
    ),
)

_URL_LOGIN = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"<>{}$%]{0,64}:([^\s/@'\"<>]{6,128})@[\w[]"
)
_ASSIGNED = re.compile(
    r"(?i)(?:passw(?:or)?d|passphrase|secret|token|api_?key|apikey|access_?key|auth_?key|credential)"
    r"[\w.-]{0,24}['\"]?\]?\s*(?:=>|:=|[:=])\s*(?:[A-Za-z_]{1,12}\(?\s*)?(['\"`])([^'\"`\s]{12,200})\1"
)
_ASSIGNED_WORDS = ("passw", "passphrase", "secret", "token", "key", "credential")
_BEARER = re.compile(r"(?i)\b(?:bearer|basic)\s+([A-Za-z0-9+/_.=-]{24,})")
# What stands where a secret would: templates, examples, masks, paths.
_PLACEHOLDER = re.compile(
    r"(?i)example|sample|dummy|placeholder|change_?me|your|xxxx|\*\*\*|\.\.\.|<.*>|\$\{|\{\{|\{\w*\}"
    r"|%\(|%s|^\$|test|fake|mock|password|secret|foobar|redacted|1234567|abcdef|/|::"
)
# Bits a character: random base64 of 20 characters has about 4, words and names about 3.
_MIN_ENTROPY = 3.5


def find(text: str) -> list[str]:
    """The names of the rules that match, sorted; empty for a text without secrets."""
    lowered = text.lower()
    found = {
        rule.name
        for rule in RULES
        if any(word in lowered for word in rule.words) and _real(rule.pattern, text)
    }
    if "://" in text and any(_random(m[1], least=2.5) for m in _URL_LOGIN.finditer(text)):
        found.add("url-login")
    if any(word in lowered for word in _ASSIGNED_WORDS) and any(
        _random(m[2]) for m in _ASSIGNED.finditer(text)
    ):
        found.add("assigned-secret")
    if ("bearer" in lowered or "basic" in lowered) and any(
        _random(m[1]) for m in _BEARER.finditer(text)
    ):
        found.add("auth-header")
    return sorted(found)


def redact(text: str) -> str:
    """The text with everything that has the form of an issued key put out of sight."""
    for rule in RULES:
        text = rule.pattern.sub(f"<{rule.name}>", text)
    text = _BEARER.sub("<auth-header>", text)
    # Servers quote a wrong key with its middle masked: both ends are still parts of it.
    return re.sub(r"\bsk-[\w*.-]{6,}", "<key>", text)


def _real(pattern: re.Pattern[str], text: str) -> bool:
    """Whether it matches somewhere where documentation does not say `EXAMPLE` in it."""
    return any("EXAMPLE" not in match[0].upper() for match in pattern.finditer(text))


def _random(value: str, least: float = _MIN_ENTROPY) -> bool:
    """Whether a value looks drawn, not written: high entropy, digits beside letters, no words."""
    if _PLACEHOLDER.search(value) or entropy(value) < least:
        return False
    if least < _MIN_ENTROPY:  # people's own passwords stand in URLs
        return True
    digits, letters = sum(c.isdigit() for c in value), sum(c.isalpha() for c in value)
    return digits >= 1 and letters >= 4 and not _is_words(value)


def _is_words(value: str) -> bool:
    """Whether it is a name: parts of letters with little beside them, as in `oauth2.token_url`."""
    parts = re.findall(r"[A-Z]?[a-z]{3,}|[A-Z]{3,}", value)
    return sum(map(len, parts)) > 0.7 * len(value)


def entropy(value: str) -> float:
    """Shannon's, in bits a character."""
    total = len(value)
    return -sum(n / total * math.log2(n / total) for n in Counter(value).values())
