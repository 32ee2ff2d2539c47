"""The sub-commands of `plimsoll`, one module each.

A module has `add_parser(subparsers)`, which adds its own parser and sets the default `run` to a function that takes
the parsed arguments and returns the exit status. It is imported only when its command is called, and is listed in
`plimsoll.commands.parser.COMMANDS`.
"""
