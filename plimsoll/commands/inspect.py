"""`plimsoll inspect`: what a model asks for, told from its configuration and its headers, before a weight is read."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.catalogue.marks import suite_marks
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.commands.output import add_output, show
from plimsoll.commands.parser import add_catalogue
from plimsoll.hub.access import Query
from plimsoll.hub.client import describe
from plimsoll.hub.contents import Repository
from plimsoll.inspection.inspection import Inspector
from plimsoll.inspection.table import render, to_json
from plimsoll.plan.predictions import HostPool, Predictions
from plimsoll.present.progress_line import WaitingLine
from plimsoll.tiny.store import cache_folder

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_DESCRIPTION = """\
Show what a model asks for: exact parameters, attention and cache, context, dtype, its class, what its makers recommend,
the bytes of its weights by quantization, the smallest machine for each, and what can be turned to save memory. Of a
repository of the Hub only settings and the headers of safetensors are read, never weights. What is not known is said to
be unknown. Exit status: 0 shown, 2 usage error, no such model, or nothing in it to inspect."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "inspect", help="show what a model asks for, from its name, before it is loaded", description=_DESCRIPTION
    )
    add_model(parser)
    add_output(parser, "print JSON: sizes in bytes, null for what is not known")
    parser.set_defaults(run=run)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add what names a model, for this command and others."""
    parser.add_argument("model", metavar="MODEL", help="a Hub id, a folder, a config.json, or an entry's id")
    parser.add_argument("--revision", metavar="REV", help="a branch, tag or commit of the Hub's repository")
    add_catalogue(parser)


def run(options: argparse.Namespace) -> int:
    """Print the inspection. Raises PlimsollError where there is no such model, or nothing to inspect."""
    with inspector(options.catalogue) as one:
        inspection = one.inspect(options.model, options.revision)
    if options.json:
        print(json.dumps(to_json(inspection), indent=2))
    else:
        show(render(inspection))
    return 0


@contextmanager
def inspector(files: list[Path]) -> Iterator[Inspector]:
    """An inspector with hosts, which end with the block. Raises CatalogueError."""
    catalogue = read_catalogue(files, known_marks=suite_marks())
    with HostPool(sys.stderr) as hosts:
        predictions = Predictions(cache_folder(), hosts.ask)
        yield Inspector(catalogue=catalogue, ask_hub=_ask_hub, ask_host=hosts.ask, predictions=predictions)


def _ask_hub(query: Query) -> Repository:
    with WaitingLine(sys.stderr, f"asking the Hub about {query.repository}"):
        return describe(query)
