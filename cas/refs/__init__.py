"""References, tags and pins: the names people give to versions."""

from cas.refs.reference import (
    DEFAULT_TAG,
    Reference,
    Resolved,
    log_of,
    parse_reference,
    resolve,
)

__all__ = ["DEFAULT_TAG", "Reference", "Resolved", "log_of", "parse_reference", "resolve"]
