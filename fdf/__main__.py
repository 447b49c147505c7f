"""`python -m fdf`."""

from fdf.cli.app import main

main()
