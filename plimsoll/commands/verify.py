"""`plimsoll verify BUNDLE`: was anything changed, who signed it, and does the verdict follow from the evidence?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plimsoll.commands.output import add_output
from plimsoll.present.foreign_text import one_line
from plimsoll.signoff.verify import Verification, verify_bundle

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_SUMMARY = "check a sign-off: hashes, signature, schema, and the verdict once more from the evidence"
_DESCRIPTION = """\
Check a bundle of `plimsoll sign`: that every byte is as it was signed, that nothing was added or taken away, whose
signature it is, that results.json follows its schema, and that the verdict follows from the evidence, judged once more
with the waivers in the bundle as of the day of the sign-off. Without --allowed-signers only that a signature fits its
key; with it, that the key is one of those in the file (see ssh-keygen(1)), so that an unsigned bundle fails.
Exit status: 0 verified, 1 not verified, 2 where the bundle could not be checked."""
_LONGEST = 1000

NOT_VERIFIED = 1


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser("verify", help=_SUMMARY, description=_DESCRIPTION)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the zip that `plimsoll sign` wrote")
    parser.add_argument("--allowed-signers", type=Path, metavar="FILE", help="whose signatures count")
    add_output(parser, "print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what was found; the status says whether the bundle holds.

    Raises PlimsollError where it cannot be checked.
    """
    found = verify_bundle(options.bundle, options.allowed_signers)
    if options.json:
        print(json.dumps(_to_json(found, options), indent=2))
        return NOT_VERIFIED if found.problems else 0
    # What a bundle says of itself is as foreign as any other text.
    sys.stdout.write("".join(f"{one_line(line, _LONGEST)}\n" for line in _lines(found, options)))
    return NOT_VERIFIED if found.problems else 0


def _lines(found: Verification, options: argparse.Namespace) -> list[str]:
    lines = []
    if (manifest := found.manifest) is not None:
        # No line of a bundle that does not hold may read like a verdict.
        claims = "it claims: " if found.problems else ""
        lines = [
            f"{claims}{manifest.statement}",
            f"{claims}run {manifest.run}, signed off by {manifest.operator} for {manifest.reference} "
            f"at {manifest.signed_at.isoformat()}",
            _signature(found, named=options.allowed_signers is not None),
        ]
    lines += [f"problem: {problem}" for problem in found.problems]
    if found.problems:
        count = len(found.problems)
        return [*lines, f"NOT VERIFIED: {count} {'problem' if count == 1 else 'problems'} in {options.bundle}"]
    return [*lines, f"VERIFIED: {found.files} files are as they were, and the verdict follows from the evidence"]


def _to_json(found: Verification, options: argparse.Namespace) -> dict[str, Any]:
    """What was found, as `plimsoll schema verification` describes it."""
    manifest = found.manifest
    claimed = manifest and {
        "run": manifest.run,
        "statement": manifest.statement,
        "operator": manifest.operator,
        "reference": manifest.reference,
        "signed_at": manifest.signed_at.isoformat(),
    }
    return {
        "schema": "plimsoll/verification/1",
        "bundle": str(options.bundle),
        "verified": not found.problems,
        "problems": [one_line(problem, _LONGEST) for problem in found.problems],
        "files": found.files,
        "signer": None if found.signer is None else str(found.signer),
        "signer_checked": options.allowed_signers is not None,
        "claimed": claimed,
    }


def _signature(found: Verification, *, named: bool) -> str:
    if found.signer is None:
        return "unsigned" if not found.problems else "signature: none that holds"
    if named:
        return f"signature: {found.signer}"
    return f"signature: {found.signer}; whose key that is was not checked, give --allowed-signers FILE"
