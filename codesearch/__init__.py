"""Ask a dozen repositories where something is done, on your own machine."""

from codesearch.hits import Hit
from codesearch.search import Index
from codesearch.search import open_index as open

__all__ = ["Hit", "Index", "open"]
