"""The cluster: the only room that knows the kubernetes client."""
