"""The verbs, shared by the command line and the HTTP shim: gather, ask the core, act."""
