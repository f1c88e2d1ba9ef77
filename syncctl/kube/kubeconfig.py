"""A kubeconfig as kubectl reads it. What it says and this program cannot do is one error, and nothing half done.

The files are read and put together here, and the kubernetes package is given one context with its cluster and its user:
it reads files in the locale's encoding, takes the last word of several, and knows no impersonation. What kubectl makes
of each entry is client-go's tools/clientcmd; tests/kube/test_kubeconfig.py compares the two programs.
"""

import base64
import binascii
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from syncctl.core.errors import NoCluster
from syncctl.core.yamltext import unreadable

Entry = dict[str, Any]

HINT = "give --kubeconfig and --context as for kubectl, or try one on this machine: `syncctl sandbox up`"
UNREADABLE = "cannot read the cluster's configuration"
_SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}
_PATHS = {
    "clusters": ("certificate-authority",),
    "users": ("client-certificate", "client-key", "tokenFile"),
    "contexts": (),
}
"""Entries that name files, by section: relative ones count from the file that they stand in."""
_DATA = ("certificate-authority-data", "client-certificate-data", "client-key-data")


@dataclass(frozen=True, slots=True)
class Chosen:
    """One context of the files, with its cluster and its user; paths are absolute, the server is a URL."""

    name: str
    namespace: str
    cluster: Entry
    user_name: str
    user: Entry

    @property
    def document(self) -> Entry:
        """The kubeconfig that has this and nothing else."""
        context = {"cluster": "cluster", **({"user": "user"} if self.user else {})}
        return {
            "current-context": self.name,
            "contexts": [{"name": self.name, "context": context}],
            "clusters": [{"name": "cluster", "cluster": self.cluster}],
            "users": [{"name": "user", "user": self.user}],
        }


def read_kubeconfig(paths: str, context: str | None) -> Chosen:
    """Return what the files name: the given context, or the current one of the first file that has any.

    Raises:
        NoCluster: they cannot be read, have no such context, or say what nobody can do.
    """
    merged: dict[str, dict[str, Entry]] = {section: {} for section in _SECTIONS}
    current = context or ""
    for path in paths.split(os.pathsep):
        if not Path(path).exists():
            continue
        document = _read(path)
        current = current or str(document.get("current-context") or "")
        for section, known in merged.items():
            for name, entry in _entries(path, document, section):
                known.setdefault(name, entry)
    if not current:
        raise NoCluster(f"{paths} has no current-context", HINT)
    if current not in merged["contexts"]:
        there = ", ".join(merged["contexts"]) or "none"
        raise NoCluster(f'no context "{current}" in {paths}; there are: {there}', HINT)
    entry = merged["contexts"][current]
    cluster_name, user_name = str(entry.get("cluster") or ""), str(entry.get("user") or "")
    chosen = Chosen(
        name=current,
        namespace=str(entry.get("namespace") or ""),
        cluster=_named(paths, merged, "clusters", cluster_name, current),
        user_name=user_name,
        user=_named(paths, merged, "users", user_name, current) if user_name else {},
    )
    if problems := [*_problems_of_cluster(chosen), *_problems_of_user(chosen)]:
        raise NoCluster(f"{UNREADABLE}: context {current} of {paths}: {'; '.join(problems)}", HINT)
    return _completed(chosen)


def impersonation(user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the headers that make each request as somebody else, where the user's entry says so."""
    extra = user.get("as-user-extra") or {}
    headers = [
        ("Impersonate-User", user.get("as")),
        ("Impersonate-Uid", user.get("as-uid")),
        *(("Impersonate-Group", group) for group in user.get("as-groups") or ()),
        *(
            # As client-go does it: a header's name has no other characters.
            (f"Impersonate-Extra-{quote(str(key), safe=_OF_A_HEADER)}", value)
            for key, values in extra.items()
            for value in values or ()
        ),
    ]
    return tuple((name, str(value)) for name, value in headers if value)


_OF_A_HEADER = "!#$&'*+-.^_`|~"


def _read(path: str) -> Entry:
    try:
        # Bytes: the text's own encoding counts, and not the locale's.
        document = yaml.safe_load(Path(path).read_bytes()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NoCluster(f"{UNREADABLE}: {unreadable(path, error)}", HINT) from error
    if not isinstance(document, dict):
        raise NoCluster(f"{UNREADABLE}: {path} is no mapping, as a kubeconfig is", HINT)
    return document


def _entries(path: str, document: Entry, section: str) -> Iterable[tuple[str, Entry]]:
    found: dict[str, Entry] = {}
    for each in _a_list(path, section, document.get(section)):
        if not isinstance(each, dict) or not each.get("name"):
            raise NoCluster(f"{UNREADABLE}: {path}: each of {section} needs a name", HINT)
        name, entry = str(each["name"]), each.get(_SECTIONS[section]) or {}
        if not isinstance(entry, dict):
            raise NoCluster(f"{UNREADABLE}: {path}: {_SECTIONS[section]} {name} is no mapping", HINT)
        if name in found:
            raise NoCluster(f"{UNREADABLE}: {path}: {section} has the name {name} twice", HINT)
        found[name] = _resolved(Path(path).absolute().parent, section, entry)
    return found.items()


def _a_list(path: str, section: str, value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise NoCluster(f"{UNREADABLE}: {path}: {section} is no list", HINT)
    return value or []


def _resolved(folder: Path, section: str, entry: Entry) -> Entry:
    paths = {key: str(folder / str(entry[key])) for key in _PATHS[section] if entry.get(key)}
    plugin = entry.get("exec")
    if isinstance(plugin, dict) and os.sep in str(plugin.get("command") or ""):
        paths["exec"] = {**plugin, "command": str(folder / plugin["command"])}  # type: ignore[assignment]
    return {**entry, **paths}


def _named(paths: str, merged: Mapping[str, Mapping[str, Entry]], section: str, name: str, context: str) -> Entry:
    if name not in merged[section]:
        raise NoCluster(
            f'{UNREADABLE}: context {context} names the {_SECTIONS[section]} "{name}", which is not in {paths}', HINT
        )
    return merged[section][name]


def _problems_of_cluster(chosen: Chosen) -> Iterable[str]:
    cluster = chosen.cluster
    if not cluster.get("server"):
        yield "its cluster has no server"
    if cluster.get("insecure-skip-tls-verify") and (
        cluster.get("certificate-authority") or cluster.get("certificate-authority-data")
    ):
        yield "a certificate-authority and insecure-skip-tls-verify exclude each other"
    yield from _bad_data("its cluster", cluster)


def _problems_of_user(chosen: Chosen) -> Iterable[str]:
    user, name = chosen.user, f'user "{chosen.user_name}"'
    if (user.get("token") or user.get("tokenFile")) and user.get("username"):
        yield f"{name} has a token and a username, and only one can be used"
    certificate = user.get("client-certificate") or user.get("client-certificate-data")
    key = user.get("client-key") or user.get("client-key-data")
    if bool(certificate) != bool(key):
        there, lacking = ("certificate", "key") if certificate else ("key", "certificate")
        yield f"{name} has a client-{there} without a client-{lacking}"
    others = [entry for entry in ("as-uid", "as-groups", "as-user-extra") if user.get(entry)]
    if others and not user.get("as"):
        yield f"{name} has {', '.join(others)} without `as`"
    provider = user.get("auth-provider")
    if isinstance(provider, dict) and provider.get("name") != "oidc":
        gone = provider.get("name")
        yield f"{name} has the auth-provider {gone}, which kubectl has no more since 1.26: use a plugin (`exec`)"
    yield from _bad_data(name, user)


def _bad_data(whose: str, entry: Entry) -> Iterable[str]:
    for key in _DATA:
        file = key.removesuffix("-data")
        if entry.get(key) and entry.get(file):
            yield f"{whose} has both {file} and {key}"
        try:
            base64.b64decode(str(entry.get(key) or ""), validate=True)
        except binascii.Error:
            yield f"{key} of {whose} is no base64"


def _completed(chosen: Chosen) -> Chosen:
    """Say outright what kubectl adds: a scheme, a password of nothing; and leave out what is empty."""
    cluster = {key: value for key, value in chosen.cluster.items() if value not in (None, "")}
    user = {key: value for key, value in chosen.user.items() if value not in (None, "")}
    if not urlsplit(str(cluster["server"])).netloc:
        secure = cluster.keys() & {"certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify"}
        cluster["server"] = f"{'https' if secure else 'http'}://{cluster['server']}"
    if "username" in user:
        user.setdefault("password", "")
    return replace(chosen, cluster=cluster, user=user)
