"""What the API server makes of an object that it gets: types, defaults, refusals, patches and deletions. No state."""
