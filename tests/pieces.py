"""Pieces of code and prompts of them, for tests of providers."""

import hashlib

from codesearch_resources.settings_summarizers import (
    MODELS_BY_KIND,
    ModelSettings,
)
from codesearch_resources.summarizers.adapter import Prompt
from codesearch_resources.summarizers.base import Piece
from codesearch_resources.summarizers.prompt import build

CODE = """\
def refund_of(order, clock):
    if clock.now() - order.paid_at > REFUND_WINDOW:
        raise RefundTooLate(order.number)
    return order.total - order.shipping
"""


def piece(code: str = CODE, header: str = "", language: str = "python") -> Piece:
    digest = hashlib.sha256(f"{language}\n{header}\n{code}".encode()).hexdigest()
    return Piece(digest, language, "function", "refund_of", header, "", code)


def prompt(code: str = CODE, *, local_only: bool = True, context_tokens: int = 8192) -> Prompt:
    return build(piece(code), context_tokens, local_only=local_only)


def link(kind: str, url: str, **more: object) -> ModelSettings:
    """The settings of one link; everything but its place as by default."""
    given = {"name": "p", "kind": kind, "url": url, "model": "smol:F16", **more}
    made = MODELS_BY_KIND[kind].model_validate(given)
    assert isinstance(made, ModelSettings)
    return made
