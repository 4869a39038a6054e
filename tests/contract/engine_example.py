"""The engine that docs/engines.md shows, as it stands there."""

import re
from pathlib import Path
from types import ModuleType

_DOCUMENT = Path(__file__).parents[2] / "docs" / "engines.md"


def source() -> str:
    """The only block of Python in the document."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", _DOCUMENT.read_text(), re.S | re.M)
    return str(block)


def example() -> ModuleType:
    module = ModuleType("hum_engine")
    exec(compile(source(), str(_DOCUMENT), "exec"), module.__dict__)
    return module
