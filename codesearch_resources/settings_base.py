"""What every mapping of `codesearch.yaml` is made of: strict models and checked texts."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from codesearch_resources import settings_rules as rules


class Model(BaseModel):
    """Frozen, nothing unknown, nothing cast."""

    # The input is hidden from pydantic's own texts: a URL may hold a password.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Section(Model):
    """A mapping of the file, as opposed to what is made of it."""

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, data: Any) -> Any:
        """`key:` with nothing behind it, or only comments below it, is the key left out."""
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}


Text = Annotated[str, AfterValidator(rules.text)]
Slug = Annotated[str, AfterValidator(rules.slug)]
Glob = Annotated[str, AfterValidator(rules.glob)]
