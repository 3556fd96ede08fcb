"""API keys: read from the environment for each call, held and shown nowhere."""

import os
from typing import Protocol

from codesearch_resources.calls import CallError


class Keyed(Protocol):
    """Settings of whatever server: its name in messages, and where its key stands."""

    @property
    def name(self) -> str: ...
    @property
    def api_key_env(self) -> str | None: ...


def bearer(settings: Keyed) -> dict[str, str]:
    """The header with the key that the settings name, none where they name none.

    Raises CallError("auth") when the variable is not set or holds no key.
    """
    name = settings.api_key_env
    if name is None:
        return {}
    key = os.environ.get(name, "").strip()
    if not key:
        raise CallError("auth", f"{settings.name}: the environment variable {name} is not set")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise CallError("auth", f"{settings.name}: the environment variable {name} holds no key")
    return {"Authorization": f"Bearer {key}"}
