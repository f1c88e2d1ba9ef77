"""C9: YAML that a person wrote takes no key twice."""

import pytest
import yaml

from syncctl.core.yamltext import read_yaml, unreadable


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml, line 3: the key a is there already, in line 1"),
        ("spec:\n  x: 1\n  'x': 1\n", "f.yaml, line 3: the key x is there already, in line 2"),
        ("- {y: 1, y: 1}", "f.yaml, line 1: the key y is there already, in line 1"),
    ],
)
def test_c9_a_key_that_is_there_twice_is_an_error_with_both_lines(text: str, said: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        read_yaml(text)
    assert unreadable("f.yaml", caught.value) == said


def test_c9_what_is_merged_in_may_be_said_otherwise() -> None:
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, a: 3}\nother: {a: 4}\n"
    assert read_yaml(text) == {"base": {"a": 1, "b": 2}, "more": {"a": 3, "b": 2}, "other": {"a": 4}}
