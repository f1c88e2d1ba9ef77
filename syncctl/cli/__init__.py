"""Words in, words out: one file a command group; output.py is the only file that prints."""
