"""What every provider adapter is: one prompt in, one answer out, and where it would go.

An adapter sends one call and never repeats it: retries, fail-over and pauses belong to the chain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from codesearch_resources.calls import Usage
from codesearch_resources.settings_summarizers import ModelSettings


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request, ready to be sent; `prompt.build` makes it from a piece of code.

    `input_tokens` is an upper bound of the whole request, `output_cap` what the answer may take.
    `code` is what of the piece is sent: `truncated` when that is not all of it. `local_only` holds
    for the repository the piece is of: enforced again where the socket opens.
    """

    system: str
    user: str
    code: str = field(repr=False)
    input_tokens: int
    output_cap: int
    truncated: bool = False
    local_only: bool = True
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a call would go: the host as configured, its addresses, and who answers behind it.

    `remote` is the host that a server on `host` passes the text on to, None when it does the work
    itself. `provider` and `model` are for messages only.
    """

    provider: str
    model: str
    host: str
    port: int
    addresses: tuple[str, ...]
    remote: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, unchecked: `contract.check` decides whether `text` is a summary.

    `model` is the one that the server says it was. `cut` when the output cap ended the text.
    `server_date` (aware, UTC) is the server's clock at the answer.
    """

    text: str
    usage: Usage
    model: str
    headers: Mapping[str, str]
    seconds: float
    server_date: datetime | None
    cut: bool = False


class Adapter(Protocol):
    """The protocol of a provider; the adapters are safe to use from several threads at once."""

    @property
    def settings(self) -> ModelSettings:
        """The link as configured."""
        ...

    def ask(self, prompt: Prompt) -> Answer:
        """Send one call and wait for its answer. Raises CallError."""
        ...

    def destination(self) -> Destination:
        """Where the call would go and whether the model is remote behind it. Raises CallError.

        May ask the server (Ollama's /api/show), and remembers what it said for some minutes.
        """
        ...

    def close(self) -> None:
        """End the calls in flight: each raises CallError("ambiguous"). Not usable afterwards."""
        ...
