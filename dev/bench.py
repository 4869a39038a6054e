"""`newvisions bench [NAME] [ARGUMENT...]`: runs one of bench/*.py; without a name says what each one asks."""

import ast
import os
import sys

from dev.project import ROOT, python


def main(arguments: list[str]) -> int:
    benches = {path.stem: path for path in sorted((ROOT / "bench").glob("[a-z]*.py"))}
    if arguments and arguments[0] in benches:
        command = python(f"bench.{arguments[0]}", *arguments[1:])
        os.execv(command[0], command)  # noqa: S606 - becoming that program is the purpose
    for name, path in benches.items():
        question = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        print(f"{name:<20} {question}")
    if arguments:
        sys.stderr.write(f"newvisions bench: there is no bench {arguments[0]!r}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
