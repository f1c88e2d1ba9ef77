"""The HTTP shim: parse, call an operation, answer. It stands where the Go service did; docs/serve.md compares the two.

- routes: a few lines each
- bodies, answers: what callers say, and what they are told; models: what both have for each algorithm
- problems: the table from an error to its status, and the documents
- resources, threads, metrics: what the routes work with
- edge: what every request passes first: limit, token, access log
- http1: time limits of connections, start and end; all that knows uvicorn
- framework: all that works against FastAPI
- app: puts them together
"""
