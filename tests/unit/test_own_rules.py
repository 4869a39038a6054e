"""Each of our own rules has an example that it must find and one that it must leave alone.

Whether it does is tried by `./newvisions check`, which has the tool.
"""

import re

import pytest
import yaml

from dev.own_rules import RULES

RULE_IDS = [rule["id"] for rule in yaml.safe_load((RULES / "rules.yaml").read_text())["rules"]]
EXAMPLES = (RULES / "rules.py").read_text()


def examples(kind: str) -> set[str]:
    return {name for line in re.findall(rf"# {kind}: (.+)", EXAMPLES) for name in line.split(", ")}


@pytest.mark.parametrize("rule", RULE_IDS)
def test_a_rule_has_examples_of_both_kinds(rule: str) -> None:
    assert rule in examples("ruleid")
    assert rule in examples("ok")


def test_every_example_is_of_a_rule_that_exists() -> None:
    assert examples("ruleid") | examples("ok") == set(RULE_IDS)
