"""Makes a JSON Schema from the type of what is printed.

Every key of a type is required and no other is allowed: a command prints all fields of its result. What a type's
docstring says of its attributes becomes the description of each key.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Patch:
    """How what is printed differs from the fields of its type.

    Attributes:
        plus: keys that are added, and their types.
        minus: fields that are left out.
        nullable: fields that are null where the type has an empty text.
        optional: keys that are not always there.
    """

    plus: Mapping[str, Any] = field(default_factory=dict)
    minus: Sequence[str] = ()
    nullable: Sequence[str] = ()
    optional: Sequence[str] = ()


@dataclass(frozen=True)
class Output:
    """What a command prints.

    Attributes:
        title: of the schema.
        types: the types of which it is one.
        patches: how what is printed differs from a type, by that type.
    """

    title: str
    types: Sequence[Any]
    patches: Mapping[type, Patch] = field(default_factory=dict)


def described(kind: Any, text: str) -> Any:
    """Return a type of which a schema says this."""
    return Annotated[kind, msgspec.Meta(description=text)]


def schema(output: Output) -> dict[str, Any]:
    """Return the JSON Schema of an output."""
    refs, definitions = msgspec.json.schema_components(
        output.types, schema_hook=_unknown, ref_template="#/$defs/{name}"
    )
    classes = {each.__name__: each for printed in output.types for each in _classes(printed)}
    for name, definition in definitions.items():
        if "properties" in definition:
            _complete(definition, classes.get(name), output.patches.get(classes.get(name, object), Patch()))
    shown: dict[str, Any] = {"$schema": DIALECT, "title": output.title}
    shown |= refs[0] if len(refs) == 1 else {"anyOf": list(refs)}
    used = _used(shown, definitions)
    return {**shown, "$defs": {name: definitions[name] for name in sorted(used)}} if used else shown


def _complete(definition: dict[str, Any], made_of: type | None, patch: Patch) -> None:
    """Require every key of an object, allow no other, and say what each is."""
    properties: dict[str, Any] = definition["properties"]
    for name in patch.minus:
        del properties[name]
    for name, kind in patch.plus.items():
        properties[name] = msgspec.json.schema(kind)
    for name in patch.nullable:
        properties[name] = {"anyOf": [properties[name], {"type": "null"}]}
    purpose, texts = _documented(made_of)
    for name, value in properties.items():
        value.pop("default", None)  # of Python, where a field may be left out; what is printed has them all
        if name in texts:
            value["description"] = texts[name]
    definition["required"] = [name for name in properties if name not in patch.optional]
    definition["additionalProperties"] = False
    definition.pop("description", None)
    if purpose:
        definition["description"] = purpose


def _used(part: object, definitions: Mapping[str, Any]) -> set[str]:
    """The names of the definitions that a part of a schema refers to, and these in turn."""
    found: set[str] = set()
    waiting = [part]
    while waiting:
        for name in re.findall(r"'#/\$defs/(\w+)'", repr(waiting.pop())):
            if name not in found:
                found.add(name)
                waiting.append(definitions[name])
    return found


def _documented(made_of: type | None) -> tuple[str, dict[str, str]]:
    """The first paragraph of a type's docstring, and what it says of each attribute."""
    texts: dict[str, str] = {}
    purpose = ""
    for each in reversed([] if made_of is None else made_of.__mro__):
        purpose, _, attributes = inspect.cleandoc(each.__doc__ or "").partition("Attributes:")
        found = re.findall(r"^ +([\w, ]+): (.*(?:\n {6,}.*)*)", attributes, re.MULTILINE)
        texts |= {name.strip(): _of_json(said) for names, said in found for name in names.split(",")}
    keys: dict[str, str] = {}
    if made_of is not None and issubclass(made_of, msgspec.Struct):
        keys = dict(zip(made_of.__struct_fields__, made_of.__struct_encode_fields__, strict=True))
        if made_of.__struct_config__.tag_field:
            texts[made_of.__struct_config__.tag_field] = "which kind of document it is."
    return " ".join(purpose.split("\n\n")[0].split()), {keys.get(name, name): said for name, said in texts.items()}


def _of_json(text: str) -> str:
    """A description on one line, with the constants of JSON in place of Python's."""
    words = {"None": "null", "True": "true", "False": "false"}
    return re.sub(r"\b(?:None|True|False)\b", lambda word: words[word[0]], " ".join(text.split()))


def _classes(printed: Any) -> Iterator[type]:
    """All types with fields that a type is made of, itself among them."""
    for each in typing.get_args(printed):
        yield from _classes(each)
    if is_dataclass(printed) or typing.is_typeddict(printed) or hasattr(printed, "__struct_fields__"):
        assert isinstance(printed, type)
        yield printed
        for kind in typing.get_type_hints(printed).values():
            yield from _classes(kind)


def _unknown(kind: type) -> dict[str, Any]:
    """The schema of types that msgspec has none for."""
    if issubclass(kind, Path):
        return {"type": "string"}
    raise NotImplementedError(kind)
