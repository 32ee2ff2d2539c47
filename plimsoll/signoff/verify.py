"""Checks a bundle: that nothing was changed, who signed it, and that the verdict follows from the evidence.

Every check is made even where another has failed, so that one run reports everything that is wrong.
"""

from __future__ import annotations

import json
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import plimsoll
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.evidence.reader import EVIDENCE_FILE
from plimsoll.evidence.record import RunRecord
from plimsoll.report.pages import HTML_FILE, JUNIT_FILE
from plimsoll.report.results import results, results_schema
from plimsoll.report.write import RESULTS_FILE
from plimsoll.signoff.archive import LARGEST, Archive, BundleError, unpack
from plimsoll.signoff.bundle import comment_for, restored
from plimsoll.signoff.derived_files import WAIVERS_FILE, catalogue_names, derived_files
from plimsoll.signoff.manifest import MANIFEST_FILE, SIGNATURE_FILE, SIGNED, FileEntry, Manifest
from plimsoll.signoff.signature import BadSignature, Signer, check
from plimsoll.verdict.verdict import Verdict, Word

_ALWAYS: Final = (EVIDENCE_FILE, HTML_FILE, JUNIT_FILE)
"""The required files besides those that follow from the evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result. The bundle is sound where `problems` is empty."""

    manifest: Manifest | None
    """None where it cannot be read."""
    signer: Signer | None
    """None for an unsigned bundle, and where the signature does not hold."""
    files: int
    problems: tuple[str, ...]


def verify_bundle(path: Path, allowed_signers: Path | None = None) -> Verification:
    """Check a bundle; `allowed_signers` (the format of ssh-keygen(1)) says whose signature is asked for.

    Raises PlimsollError where it cannot be checked: no such file, ssh-keygen or jsonschema missing.
    """
    if find_spec("jsonschema") is None:
        raise PlimsollError("results.json is held against its schema by jsonschema: pip install jsonschema")
    try:
        archive = unpack(_read(path))
    except BundleError as error:
        return Verification(manifest=None, signer=None, files=0, problems=(f"{path} is no sound bundle: {error}",))
    try:
        manifest = Manifest.from_bytes(archive.files.get(MANIFEST_FILE, b""))
    except BundleError as error:
        problems = [*archive.problems, str(error)]
        return Verification(manifest=None, signer=None, files=len(archive.files), problems=tuple(problems))
    problems = [*archive.problems, *_files(archive, manifest)]
    signer, faults = _signature(archive, manifest, allowed_signers)
    problems += [*faults, *_schema(archive.files), *_consequences(archive.files, manifest)]
    return Verification(manifest=manifest, signer=signer, files=len(archive.files), problems=tuple(problems))


def _read(path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            # A device has size 0 and never ends.
            raise PlimsollError(f"{path} is no file; a bundle is the zip that `plimsoll sign` wrote")
        if found.st_size > LARGEST:
            raise BundleError(f"it is larger than {LARGEST} bytes")
        return path.read_bytes()
    except OSError as error:
        raise PlimsollError(f"{path} cannot be read ({reason_of(error)})") from None


def _files(archive: Archive, manifest: Manifest) -> Iterator[str]:
    if archive.comment != comment_for(archive.files[MANIFEST_FILE]):
        yield f"{MANIFEST_FILE} is not the one that the archive was made with"
    here = {name for name in archive.files if name not in (MANIFEST_FILE, SIGNATURE_FILE)}
    listed = {entry.name: entry for entry in manifest.files}
    if len(listed) != len(manifest.files):
        yield f"{MANIFEST_FILE} lists a file twice"
    yield from (f"{name} is missing" for name in sorted(listed.keys() - here))
    yield from (f"{name} was added: the manifest does not list it" for name in sorted(here - listed.keys()))
    yield from (f"{name} is in no sound bundle missing" for name in _ALWAYS if name not in listed)
    for name in sorted(here & listed.keys()):
        if FileEntry.of(name, archive.files[name]) != listed[name]:
            yield f"{name} was changed: its SHA-256 is not that of the manifest"


def _signature(archive: Archive, manifest: Manifest, allowed_signers: Path | None) -> tuple[Signer | None, list[str]]:
    signature = archive.files.get(SIGNATURE_FILE)
    if manifest.signature != SIGNED:
        faults = [] if signature is None else [f"{SIGNATURE_FILE} was added: the manifest says that it is unsigned"]
        if allowed_signers is not None:
            faults.append("it is unsigned, and a signature was asked for")
        return None, faults
    if signature is None:
        return None, [f"{SIGNATURE_FILE} is missing: the manifest says that it is signed"]
    try:
        return check(archive.files[MANIFEST_FILE], signature, allowed_signers, manifest.signed_at), []
    except BadSignature as error:
        return None, [f"the signature does not hold: {error}"]


def _schema(files: Mapping[str, bytes]) -> list[str]:
    import jsonschema

    try:
        data = json.loads(files[RESULTS_FILE])
    except KeyError:
        return [f"{RESULTS_FILE} is missing"]
    except (ValueError, RecursionError):
        return [f"{RESULTS_FILE} is no JSON"]
    error = next(iter(jsonschema.Draft202012Validator(results_schema()).iter_errors(data)), None)
    return [] if error is None else [f"{RESULTS_FILE} does not follow its schema: {error.json_path}: {error.message}"]


def _consequences(files: Mapping[str, bytes], manifest: Manifest) -> list[str]:
    """Judge the evidence once more, as of the day of the sign-off, and compare."""
    try:
        with tempfile.TemporaryDirectory(prefix="plimsoll-") as folder:
            record, verdict = restored(files, Path(folder), manifest.signed_at.date())
            return list(_unlike(files, manifest, record, verdict))
    except (OSError, PlimsollError) as error:
        return [f"the verdict cannot be recomputed: {error}"]


def _unlike(files: Mapping[str, bytes], manifest: Manifest, record: RunRecord, verdict: Verdict) -> Iterator[str]:
    if verdict.word is not Word.ACCEPTED:
        yield f"the evidence does not come to what was signed, but to: {verdict.statement}"
    if (manifest.run, manifest.verdict, manifest.statement) != (record.run_id, verdict.word, verdict.statement):
        yield f"{MANIFEST_FILE} says {manifest.statement!r} of {manifest.run}, the evidence {verdict.statement!r}"
    if record.waivers is not None and WAIVERS_FILE not in files:
        yield f"{WAIVERS_FILE} is missing: the run was given waivers"
    if unlike := _results_differ(files.get(RESULTS_FILE, b""), record, verdict):
        yield f"{RESULTS_FILE} does not follow from the evidence: {unlike}"
    if manifest.plimsoll == plimsoll.__version__:
        # Another version may word reports differently; their results were compared above.
        made = derived_files(record, verdict)
        yield from (f"{name} does not follow from the evidence" for name in made if files.get(name) != made[name])
    for digest, name in catalogue_names(record).items():
        if name not in files or FileEntry.of(name, files[name]).sha256 != digest:
            yield f"{name} is not the catalogue file that the run read"


_COMPARED: Final[dict[str, Callable[[Mapping[str, Any]], object]]] = {
    "its verdict": lambda data: (data["verdict"]["word"], data["verdict"]["planned"], data["verdict"]["counts"]),
    "its cells": lambda data: [(cell["id"], cell["outcome"]) for cell in data["cells"]],
    "its node": lambda data: data["node"],
}


def _results_differ(content: bytes, record: RunRecord, verdict: Verdict) -> str | None:
    made = results(record, verdict)
    try:
        data = json.loads(content)
        unlike = [what for what, part in _COMPARED.items() if part(data) != part(made)]
    except (KeyError, TypeError, ValueError, RecursionError):
        return "it cannot be compared"
    return f"{' and '.join(unlike)} differ" if unlike else None
