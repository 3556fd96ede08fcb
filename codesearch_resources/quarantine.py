"""Texts that a model could not do: counted, shown, and not sent to it for ever."""

from collections import Counter
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from codesearch_resources import results_tables as tables
from codesearch_resources.results_tables import batched_keys, present, writing

FAILURES = 3  # of one text with one model, over all runs
_t = tables.quarantine.c


class Quarantine:
    """The failures of one results.db, by summary key and model."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self._writer = engine, writing(engine)

    def add(self, key: str, model: str, why: str, *, final: bool = False) -> bool:
        """Count a failure of a text; `final` is the last whatever the count.

        Returns whether the model is not to be asked for it again.
        """
        now = present()
        statement = sqlite.insert(tables.quarantine).values(
            key=key, model=model, failures=1, why=why, given_up_at=now if final else None
        )
        failures = _t.failures + 1
        given_up = sa.case((failures >= FAILURES, now), else_=now if final else None)
        statement = statement.on_conflict_do_update(
            index_elements=["key", "model"],
            set_={"failures": failures, "why": why, "given_up_at": given_up},
        )
        found = sa.select(_t.given_up_at).where(_t.key == key, _t.model == model)
        with self._writer.begin() as connection:
            connection.execute(statement)
            return connection.execute(found).scalar_one() is not None

    def given_up(self, keys: Iterable[str], model: str) -> dict[str, str]:
        """The keys among these that the model is not to be asked for, and why."""
        found: dict[str, str] = {}
        with self._engine.connect() as connection:
            for batch in batched_keys(keys):
                query = sa.select(_t.key, _t.why).where(
                    _t.key.in_(batch), _t.model == model, _t.given_up_at.is_not(None)
                )
                found.update((row.key, row.why) for row in connection.execute(query))
        return found

    def counts(self) -> Counter[str]:
        """How many texts each model is not to be asked for."""
        query = sa.select(_t.model, sa.func.count()).where(_t.given_up_at.is_not(None))
        with self._engine.connect() as connection:
            return Counter({row[0]: row[1] for row in connection.execute(query.group_by(_t.model))})

    def forget(self, keys: Iterable[str]) -> None:
        """Give these texts another chance with every model."""
        with self._writer.begin() as connection:
            for batch in batched_keys(keys):
                connection.execute(sa.delete(tables.quarantine).where(_t.key.in_(batch)))
