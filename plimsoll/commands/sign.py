"""`plimsoll sign RUN`: bundles a run with everything that its verdict rests on, under a name and a signature."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll import clock
from plimsoll.commands.parser import add_report_dir
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.evidence.run_folder import find_run
from plimsoll.signoff.bundle import Bundle, RefusedError, SignOff, make_bundle
from plimsoll.units import format_bytes
from plimsoll.verdict.verdict import EXIT_INCOMPLETE

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_SUMMARY = "bundle an accepted run with its evidence, sealed and signed"
_DESCRIPTION = """\
Write a zip bundle of everything that the verdict on a run rests on: report, evidence, figures, the node's serials and
UUIDs, package versions, catalogue files and waivers, with the SHA-256 of each in a manifest that an SSH key signs.
Without --key the bundle says that it is unsigned. A verdict other than ACCEPTED is refused; a gap can be waived.
Exit status: 0 signed, 1 refused because the run is REJECTED, 5 because nothing was planned, 6 because it is INCOMPLETE,
2 where something is wrong with the arguments, a waiver, a key or the catalogue files."""
_LONGEST = 200


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser("sign", help=_SUMMARY, description=_DESCRIPTION)
    parser.add_argument("run_name", metavar="RUN", help="a run folder, an evidence file, a run id, or `latest`")
    parser.add_argument("--operator", required=True, type=_line, metavar="NAME", help="who signs off")
    parser.add_argument("--reference", required=True, type=_line, metavar="TICKET", help="what it is signed off for")
    parser.add_argument("--key", type=Path, metavar="KEY", help="SSH key to sign with, private or held by an agent")
    parser.add_argument(
        "--waivers", type=Path, metavar="FILE", help="judge with these waivers instead of those of the run"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="the bundle to write (default: sign-off-<run-id>.zip)"
    )
    add_report_dir(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the bundle; the status is that of the verdict where it is refused.

    Raises PlimsollError where the bundle cannot be made.
    """
    found = find_run(options.run_name, options.report_dir).resolve()
    output = options.output or Path(f"sign-off-{found.name if found.is_dir() else found.parent.name}.zip")
    if output.exists():
        raise PlimsollError(f"{output} is there already; remove it, or name another with --output FILE")
    at = clock.now().astimezone(UTC).replace(microsecond=0)
    sign_off = SignOff(operator=options.operator, reference=options.reference, at=at, key=options.key)
    try:
        bundle = make_bundle(found, sign_off, options.waivers)
    except RefusedError as refusal:
        print(f"plimsoll: {refusal}", file=sys.stderr)
        # --allow-incomplete lets a run exit 0; it does not let anybody sign.
        return refusal.verdict.exit_status or EXIT_INCOMPLETE
    _write(output, bundle.content)
    sys.stdout.write("".join(f"{line}\n" for line in _lines(bundle, output)))
    return 0


def _lines(bundle: Bundle, output: Path) -> list[str]:
    manifest = bundle.manifest
    unsigned = "unsigned: no --key was given, so it guards against accidents and not against forgery"
    return [
        manifest.statement,
        f"signed off by {manifest.operator} for {manifest.reference} at {manifest.signed_at.isoformat()}",
        unsigned if bundle.signer is None else f"signature: {bundle.signer}",
        f"bundle: {output}, {len(manifest.files)} files, {format_bytes(len(bundle.content))}",
        f"SHA-256 of the bundle: {hashlib.sha256(bundle.content).hexdigest()}",
    ]


def _write(output: Path, content: bytes) -> None:
    """In one step: nobody finds half a bundle. Raises PlimsollError."""
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(output)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise PlimsollError(f"{output} cannot be written ({reason_of(error)}); use --output FILE") from None


def _line(text: str) -> str:
    """argparse turns the error into a usage error that names the option."""
    if not text.strip() or not text.isprintable() or len(text) > _LONGEST:
        raise argparse.ArgumentTypeError(f"must be one line of 1 to {_LONGEST} printable characters, not {text!a:.60}")
    return text.strip()
