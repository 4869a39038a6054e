"""Messages as JSON schemas: names, types and the rules that the edge enforces."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from buf.validate import validate_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from gateway.openapi.comments import Comments

_SCALARS: Final[dict[int, dict[str, Any]]] = {
    Field.TYPE_BOOL: {"type": "boolean"},
    Field.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    Field.TYPE_DOUBLE: {"type": "number"},
    Field.TYPE_FLOAT: {"type": "number"},
    Field.TYPE_INT32: {"type": "integer", "format": "int32"},
    Field.TYPE_UINT32: {"type": "integer", "minimum": 0},
    # JSON numbers are not exact above 2^53.
    Field.TYPE_INT64: {"type": "string", "pattern": "^-?[0-9]+$"},
    Field.TYPE_UINT64: {"type": "string", "pattern": "^[0-9]+$"},
    Field.TYPE_STRING: {"type": "string"},
}
_KNOWN: Final[dict[str, dict[str, Any]]] = {
    ".google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    ".google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?s$"},
    ".google.protobuf.Struct": {"type": "object"},
    ".google.protobuf.Value": {},
    ".google.api.HttpBody": {"type": "string", "format": "binary"},
}
_STRING_RULES: Final = {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
_NUMBER_RULES: Final = {
    "gte": "minimum",
    "lte": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
}
_NUMBERS: Final = {
    Field.TYPE_INT32: "int32",
    Field.TYPE_UINT32: "uint32",
    Field.TYPE_DOUBLE: "double",
    Field.TYPE_FLOAT: "float",
}
_ERROR: Final = ".newvisions.edge.v1.ApiError"


class Schemas:
    """`used` holds every message that something refers to, by a name that is unique among them."""

    def __init__(self, files: Iterable[descriptor_pb2.FileDescriptorProto]) -> None:
        self.used: dict[str, dict[str, Any]] = {}
        self._messages: dict[str, descriptor_pb2.DescriptorProto] = {}
        self._notes: dict[str, tuple[Comments, int]] = {}
        for file in files:
            comments = Comments(file)
            for number, message in enumerate(file.message_type):
                name = f".{file.package}.{message.name}"
                self._messages[name] = message
                self._notes[name] = comments, number
                for nested in message.nested_type:
                    self._messages[f"{name}.{nested.name}"] = nested

    @property
    def error(self) -> dict[str, Any]:
        """Of every failure; the status is the answer's own."""
        return self.part(_ERROR, without={"http_status"})

    def ref(self, message: str) -> dict[str, Any]:
        name = _name(message)
        if name not in self.used:
            # Before its fields, which may refer to it.
            self.used[name] = {}
            self.used[name] = self.part(message, without=set(), always=True)
        return {"$ref": f"#/components/schemas/{name}"}

    def part(self, message: str, without: Collection[str], *, always: bool = False) -> dict[str, Any]:
        """A message as an object. `always`: of an answer, where plain fields are never left out."""
        fields = [field for field in self.fields(message) if field.name not in without]
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {
                field.json_name: {
                    **(_or_null(field, self.of_field(field)) if always else self.of_field(field)),
                    **self._noted(message, field),
                }
                for field in fields
            },
        }
        if note := self._note(message):
            schema["description"] = note
        there = [
            field.json_name for field in fields if (_is_plain(field) if always else self.is_required(field))
        ]
        if there:
            schema["required"] = there
        return schema

    def fields(self, message: str) -> Iterator[Field]:
        yield from self._messages[message].field

    def field(self, message: str, name: str) -> Field:
        return next(field for field in self.fields(message) if field.name == name)

    def described(self, message: str, field: Field) -> dict[str, Any]:
        """A parameter's schema and what is said of it."""
        return {"schema": self.of_field(field), **self._noted(message, field)}

    def of_field(self, field: Field) -> dict[str, Any]:
        if field.type == Field.TYPE_MESSAGE and self._is_map(field):
            value = self._messages[field.type_name].field[1]
            return {"type": "object", "additionalProperties": self._single(value)}
        if field.label == Field.LABEL_REPEATED:
            rules = _rules(field).repeated
            bounds = {"minItems": rules.min_items} if rules.HasField("min_items") else {}
            bounds |= {"maxItems": rules.max_items} if rules.HasField("max_items") else {}
            return {"type": "array", "items": self._single(field), **bounds}
        return self._single(field)

    def is_required(self, field: Field) -> bool:
        """An empty string is as good as none to a rule that asks for a character."""
        rules = _rules(field)
        if rules.required:
            return True
        given = rules.string
        asks = given.min_len > 0 or bool(given.WhichOneof("well_known")) or bool(getattr(given, "in"))
        return field.type == Field.TYPE_STRING and not field.proto3_optional and asks

    def _single(self, field: Field) -> dict[str, Any]:
        if field.type == Field.TYPE_MESSAGE:
            return dict(_KNOWN[field.type_name]) if field.type_name in _KNOWN else self.ref(field.type_name)
        return {**_SCALARS[field.type], **_bounds(field)}

    def _is_map(self, field: Field) -> bool:
        return field.type_name in self._messages and self._messages[field.type_name].options.map_entry

    def _note(self, message: str) -> str:
        comments, number = self._notes.get(message, (None, 0))
        return comments.of_message(number) if comments else ""

    def _noted(self, message: str, field: Field) -> dict[str, str]:
        comments, number = self._notes.get(message, (None, 0))
        place = [found.name for found in self.fields(message)].index(field.name)
        note = comments.of_field(number, place) if comments else ""
        return {"description": note} if note else {}


def _rules(field: Field) -> validate_pb2.FieldRules:
    rules: validate_pb2.FieldRules = field.options.Extensions[validate_pb2.field]
    return rules


def _bounds(field: Field) -> dict[str, Any]:
    rules = _rules(field).repeated.items if field.label == Field.LABEL_REPEATED else _rules(field)
    if field.type == Field.TYPE_STRING:
        given = rules.string
        found: dict[str, Any] = {
            theirs: getattr(given, ours) for ours, theirs in _STRING_RULES.items() if given.HasField(ours)
        }
        if among := list(getattr(given, "in")):
            found["enum"] = among
        if given.WhichOneof("well_known") in {"uuid", "email"}:
            found["format"] = given.WhichOneof("well_known")
        return found
    if field.type in _NUMBERS:
        limits = getattr(rules, _NUMBERS[field.type])
        return {
            theirs: getattr(limits, ours) for ours, theirs in _NUMBER_RULES.items() if limits.HasField(ours)
        }
    return {}


def _or_null(field: Field, schema: dict[str, Any]) -> dict[str, Any]:
    """What is unset is left out of most answers, and null in some."""
    unset = field.label != Field.LABEL_REPEATED and not _is_plain(field) and "type" in schema
    return {**schema, "type": [schema["type"], "null"]} if unset else schema


def _is_plain(field: Field) -> bool:
    return field.type != Field.TYPE_MESSAGE and not field.proto3_optional


def _name(message: str) -> str:
    """Two domains may have a message of the same name: those of requests and answers are unique."""
    _, _, domain, _, name = message.split(".")[:5]
    return f"{domain.title()}{name}"
