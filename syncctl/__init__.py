"""syncctl keeps trading clients in a database and their pods in Kubernetes in agreement."""

__version__ = "0.1.0"
