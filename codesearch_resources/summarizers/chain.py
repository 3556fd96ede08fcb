"""The chain: summarizers in the user's order, each given what the ones before it left."""

from collections.abc import Iterator, Sequence

from codesearch_resources.settings import SummarizerSettings
from codesearch_resources.summarizers.base import Grade, Piece, Summarizer, Summary
from codesearch_resources.summarizers.extractive import Extractive


class Chain:
    """A summarizer made of summarizers."""

    def __init__(self, links: Sequence[Summarizer]) -> None:
        self.links = tuple(links)
        self.name = " → ".join(link.name for link in self.links)
        # `stand_in` alone leaves nothing better to wait for.
        self.grade: Grade = (
            "model" if any(link.grade == "model" for link in self.links) else "stand_in"
        )

    def summarize(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Summary]]:
        """Yield what any link writes; the remainder of the last link stays without."""
        left = {piece.content_hash: piece for piece in pieces}
        for link in self.links:
            if not left:
                return
            for piece, summary in link.summarize(tuple(left.values())):
                left.pop(piece.content_hash, None)
                yield piece, summary


def make_chain(settings: Sequence[SummarizerSettings]) -> Chain:
    """The chain that the settings describe."""
    return Chain([Extractive(link.name) for link in settings])
