"""`python -m plimsoll`: the command line, for where the script `plimsoll` is not on the path."""

from plimsoll.cli import main

raise SystemExit(main())
