"""Makes everything that is generated from the contracts: Python modules and the gateway's descriptor set.

`python -m dev.protos` does nothing when neither the protos nor the generators changed.
"""

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GEN = ROOT / "gen"
STAMP = GEN / "made-from.sha256"
# What our protos import, and what the gateway must know to print error details.
GOOGLE = (
    "google/api/annotations.proto",
    "google/api/http.proto",
    "google/api/httpbody.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
)
GENERATORS = ("grpcio-tools", "googleapis-common-protos", "protovalidate", "protobuf")
_TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}


def make() -> bool:
    """Generate into gen/; returns whether there was anything to do."""
    stamp = _fingerprint()
    if STAMP.exists() and STAMP.read_text() == stamp:
        return False
    GEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=GEN) as directory:
        _generate(Path(directory))
        _take_over(Path(directory))
    STAMP.write_text(stamp)
    return True


def _generate(new: Path) -> None:
    _lay_out_third_party(new / "third_party")
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    with as_file(files("grpc_tools") / "_proto") as builtin:
        includes = [f"-I{PROTOS}", f"-I{new / 'third_party'}", f"-I{builtin}"]
        _protoc(*includes, f"--python_out={new}", f"--pyi_out={new}", f"--grpc_python_out={new}", *sources)
        _protoc(*includes, f"--python_out={new}", "buf/validate/validate.proto")
        _protoc(
            *includes,
            f"--descriptor_set_out={new / 'edge.pb'}",
            "--include_imports",
            "--include_source_info",
            *sources,
            "google/rpc/error_details.proto",
        )


def _take_over(new: Path) -> None:
    """Replace what changed, file by file: processes that import the rest meanwhile notice nothing."""
    fresh = {path.relative_to(new) for path in new.rglob("*") if path.is_file()}
    for name in fresh:
        if not _same(new / name, GEN / name):
            (GEN / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).replace(GEN / name)
    for path in GEN.rglob("*"):
        name = path.relative_to(GEN)
        generated = path.is_file() and path != STAMP and not name.parts[0].startswith(".new-")
        if generated and "__pycache__" not in name.parts and name not in fresh:
            path.unlink()


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _protoc(*arguments: str) -> None:
    if protoc.main(["protoc", *arguments]) != 0:
        raise SystemExit("the protos do not compile; see the lines above")


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted([*PROTOS.rglob("*.proto"), Path(__file__)]):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    digest.update(" ".join(f"{name}=={version(name)}" for name in GENERATORS).encode())
    return digest.hexdigest()


def _lay_out_third_party(folder: Path) -> None:
    """The imports as .proto files, taken from the installed wheels, where buf and protoc find them."""
    for name in GOOGLE:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((files("google") / name.removeprefix("google/")).read_bytes())
    target = folder / "buf/validate/validate.proto"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(_validate_proto()) + "\n")


def _validate_proto() -> Iterator[str]:
    """validate.proto from the descriptor inside the protovalidate wheel, which ships no .proto file.

    The expressions behind the standard rules are left out: the validator carries them itself.
    """
    raw = validate_pb.desc().proto.to_binary()
    described = descriptor_pb2.FileDescriptorProto.FromString(raw)
    yield 'syntax = "proto2";'
    yield f"package {described.package};"
    yield from (f'import "{name}";' for name in described.dependency)
    for extension in described.extension:
        yield f"extend {extension.extendee} {{ {_field(extension)} }}"
    for enum in described.enum_type:
        yield from _enum(enum)
    for message in described.message_type:
        yield from _message(message)


def _message(message: DescriptorProto) -> Iterator[str]:
    yield f"message {message.name} {{"
    for enum in message.enum_type:
        yield from _enum(enum)
    for field in message.field:
        if not field.HasField("oneof_index"):
            yield _field(field)
    for index, oneof in enumerate(message.oneof_decl):
        members = [f for f in message.field if f.HasField("oneof_index") and f.oneof_index == index]
        yield f"oneof {oneof.name} {{ {' '.join(_field(f, in_oneof=True) for f in members)} }}"
    for span in message.extension_range:
        yield f"extensions {span.start} to {'max' if span.end == 1 << 29 else span.end - 1};"
    yield "}"


def _enum(enum: EnumDescriptorProto) -> Iterator[str]:
    yield f"enum {enum.name} {{ {' '.join(f'{value.name} = {value.number};' for value in enum.value)} }}"


def _field(field: FieldDescriptorProto, *, in_oneof: bool = False) -> str:
    label = "repeated " if field.label == FieldDescriptorProto.LABEL_REPEATED else "optional "
    kind = field.type_name or _TYPES[field.type]
    return f"{'' if in_oneof else label}{kind} {field.name} = {field.number};"


if __name__ == "__main__":
    sys.stdout.write("contracts: generated\n" if make() else "contracts: up to date\n")
