"""`python -m syncctl`."""

from syncctl.cli.app import main

main()
