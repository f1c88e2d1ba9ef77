"""Words in, words out: one file a command group; output.py prints what the commands found."""
