"""The schemas of what the suite writes, each checked and made a validator once."""

from __future__ import annotations

from functools import cache

from jsonschema import Draft202012Validator

from plimsoll.commands.schema import schema


@cache
def validator(name: str) -> Draft202012Validator:
    """What raises jsonschema.ValidationError for data that does not follow the schema; the schema itself is one."""
    described = schema(name)
    Draft202012Validator.check_schema(described)
    return Draft202012Validator(described)
