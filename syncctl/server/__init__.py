"""The HTTP shim: parse, call an operation, answer.

It stands where the Go service did; docs/serve.md compares the two.
"""
