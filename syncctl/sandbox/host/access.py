"""The sandbox's own kubeconfig. Never ~/.kube/config."""

from pathlib import Path

import yaml

CONTEXT = "syncctl-sandbox"


def write_kubeconfig(path: Path, url: str, *, namespace: str, token: str) -> Path:
    """Write a kubeconfig that only its owner can read, in one step, and give its path back."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": {"server": url}}],
        "users": [{"name": CONTEXT, "user": {"token": token} if token else {}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": namespace}}],
    }
    return write_private(path, yaml.safe_dump(content, sort_keys=False))


def write_private(path: Path, text: str) -> Path:
    """Replace a file's content atomically; mode 600 from the first byte on."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(path)
    return path
