"""What names, labels and annotations may look like. Each function gives the server's sentences; none: all is well."""

import re
from functools import lru_cache

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = LABEL + r"(\." + LABEL + ")*"
_KEY_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY_NAME})?"
_ENDS = "and must start and end with an alphanumeric character"
_LABEL_RULE = (
    f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {_ENDS} "
    f"(e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"
)
_SUBDOMAIN_RULE = (
    f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', {_ENDS} "
    f"(e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"
)
_KEY_RULE = (
    f"must consist of alphanumeric characters, '-', '_' or '.', {_ENDS} "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_KEY_NAME}')"
)
_VALUE_RULE = (
    f"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', {_ENDS} "
    f"(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_VALUE}')"
)
_label, _subdomain, _key_name, _value = map(re.compile, (LABEL, SUBDOMAIN, _KEY_NAME, _VALUE))


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def label_name_problems(name: str) -> list[str]:
    """A DNS-1123 label: container and namespace names."""
    problems = [_too_long(63)] if len(name) > 63 else []
    if not _label.fullmatch(name):
        problems.append("must not contain dots" if _subdomain.fullmatch(name) else _LABEL_RULE)
    return problems


def subdomain_problems(name: str) -> list[str]:
    """A DNS-1123 subdomain: pod names."""
    problems = [_too_long(253)] if len(name) > 253 else []
    if not _subdomain.fullmatch(name):
        problems.append(_SUBDOMAIN_RULE)
    return problems


@lru_cache(maxsize=4096)
def label_key_problems(key: str) -> tuple[str, ...]:
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return (
            f"a valid label key {_KEY_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        )
    problems: list[str] = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems.extend(f"prefix part {problem}" for problem in subdomain_problems(prefix))
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append(f"name part {_too_long(63)}")
    if not _key_name.fullmatch(name):
        problems.append(f"name part {_KEY_RULE}")
    return tuple(problems)


@lru_cache(maxsize=8192)
def label_value_problems(value: str) -> tuple[str, ...]:
    problems = [_too_long(63)] if len(value) > 63 else []
    if not _value.fullmatch(value):
        problems.append(_VALUE_RULE)
    return tuple(problems)
