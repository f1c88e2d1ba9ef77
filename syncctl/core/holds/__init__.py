"""What keeps a step from being carried out: a file each, all of one signature; core/judge.py has their order."""
