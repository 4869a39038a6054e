"""What the contracts say about themselves, for people."""

from google.protobuf import descriptor_pb2

# Numbers of fields in descriptor.proto: a comment is found by the path to what it is about.
_MESSAGE, _SERVICE, _FIELD, _METHOD = 4, 6, 2, 2


class Comments:
    """The comments before methods, messages and fields of one file."""

    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self._file = file
        self._by_path = {
            tuple(location.path): _cleaned(location.leading_comments)
            for location in file.source_code_info.location
            if location.leading_comments
        }

    def of_method(
        self,
        service: descriptor_pb2.ServiceDescriptorProto,
        method: descriptor_pb2.MethodDescriptorProto,
    ) -> str:
        place = (_SERVICE, list(self._file.service).index(service))
        return self._by_path.get((*place, _METHOD, list(service.method).index(method)), "")

    def of_message(self, number: int) -> str:
        return self._by_path.get((_MESSAGE, number), "")

    def of_field(self, message: int, field: int) -> str:
        return self._by_path.get((_MESSAGE, message, _FIELD, field), "")


def _cleaned(comment: str) -> str:
    return "\n".join(line.removeprefix(" ").rstrip() for line in comment.strip("\n").splitlines()).strip()
