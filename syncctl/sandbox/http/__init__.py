"""The API over HTTP: connections, paths, what each verb takes, and how kubectl is shown an object."""
