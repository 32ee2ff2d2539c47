"""`python -m plimsoll`: the command line, where the script is not on the path."""

from plimsoll.cli import main

raise SystemExit(main())
