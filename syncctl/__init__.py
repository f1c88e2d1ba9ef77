"""syncctl keeps trading clients in a database and their pods in Kubernetes in agreement."""

import time

__version__ = "0.1.0"

STARTED = time.monotonic()
"""When this process began, by time.monotonic(): before anything of ours, and what that imports, was loaded.

The interpreter's own start, some hundredths of a second, is not in it. /proc would tell that too, but of a process that
a shell has become by `exec` it tells when the shell was started, which may be hours ago.
"""
