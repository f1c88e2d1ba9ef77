"""The objects that there are: kept, listed, watched, and written to disk."""
