"""Why a question has no answer.

SearchError             it cannot be answered; the message says why and what to do
├── BadQuery            the question itself is at fault
├── NoConfiguration     there is no codesearch.yaml, or it lists no repository
└── NotIndexed          nothing has been indexed yet
"""


class SearchError(Exception):
    """The question cannot be answered; the message says why and what to do."""


class BadQuery(SearchError):
    """The question itself is at fault."""


class NoConfiguration(SearchError):
    """There is no codesearch.yaml to be found, or it lists no repository."""


class NotIndexed(SearchError):
    """Nothing has been indexed yet."""
