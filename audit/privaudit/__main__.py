"""`python -m privaudit`: the command line."""

from privaudit.cli import main

main()
