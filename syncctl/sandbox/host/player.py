"""Let something happen to a pod of a running sandbox."""

import json
import urllib.error
import urllib.request

from syncctl.sandbox.host.process import SandboxError
from syncctl.sandbox.kubelet.kubelet import ANNOTATION
from syncctl.sandbox.kubelet.podlife import CONDITIONS, NEVER_SCHEDULED

DELETED = "Deleted"
FATES = (*CONDITIONS, DELETED)
"""What can befall a pod: the kubelet's conditions, and to be deleted behind syncctl's back."""


def play_fate(url: str, pod: str, fate: str) -> bool:
    """Make the fate befall the pod, and return whether it does so now: a pod that runs will not be pending again.

    Raises:
        SandboxError: there is no such pod, or no such fate.
    """
    if fate not in FATES:
        raise SandboxError(f'no fate "{fate}"; there are {", ".join(FATES)}')
    body = b"" if fate == DELETED else json.dumps({"metadata": {"annotations": {ANNOTATION: fate}}}).encode()
    request = urllib.request.Request(  # noqa: S310 - our own server's http URL
        f"{url}/api/v1/namespaces/trading/pods/{pod}",
        data=body or None,
        method="DELETE" if fate == DELETED else "PATCH",
        headers={"Content-Type": "application/merge-patch+json"} if body else {},
    )
    # A proxy of the environment has no business with loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            phase = json.loads(answer.read()).get("status", {}).get("phase")
            return fate not in NEVER_SCHEDULED or phase == "Pending"
    except urllib.error.HTTPError as error:
        with error:
            raise SandboxError(json.loads(error.read())["message"]) from None
    except urllib.error.URLError as error:
        raise SandboxError(f"the sandbox at {url} does not answer: {error.reason}") from None
