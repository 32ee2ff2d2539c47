"""Signs and checks with SSH keys, through OpenSSH's `ssh-keygen -Y`: we handle no keys, and people use those they have.

Because of the namespace a signature for something else (a commit, a mail) does not count here.
"""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError
from plimsoll.present.foreign_text import one_line

NAMESPACE: Final = "plimsoll"

_HEAD: Final = b"-----BEGIN SSH SIGNATURE-----\n"
_FOOT: Final = b"-----END SSH SIGNATURE-----\n"
_COLUMNS: Final = 70
_KEY: Final = re.compile(r"with (?P<key>\S+ key \S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """The signer: the key, and its name in a file of allowed signers (None without such a file)."""

    key: str
    """`ED25519 key SHA256:...`"""
    principal: str | None

    def __str__(self) -> str:
        return self.key if self.principal is None else f"{self.principal} ({self.key})"


class BadSignature(Exception):  # noqa: N818  it says what the signature is
    """The signature does not hold; the text says why."""


def sign(content: bytes, key: Path) -> tuple[bytes, Signer]:
    """The signature of the content by an SSH key, and whose it is. The key is a private key file, or a public one
    whose private part an agent has. A passphrase is asked for on the terminal.

    Raises PlimsollError where ssh-keygen is missing or does not sign.
    """
    if not key.is_file():
        raise PlimsollError(f"there is no key {key}; make one with ssh-keygen -t ed25519 -f {key}")
    # ssh-keygen writes to the terminal, because it may ask for the touch of a hardware key.
    done = subprocess.run(  # noqa: S603  the program was looked up, its arguments are ours
        [_program(), "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE],
        input=content,
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise PlimsollError(f"ssh-keygen could not sign with {key}; what it says stands above")
    return done.stdout, check(content, done.stdout, None, None)


def check(content: bytes, signature: bytes, allowed_signers: Path | None, at: datetime | None) -> Signer:
    """Who signed the content.

    Without `allowed_signers` (the format of ssh-keygen(1)), checks only that the signature fits its own key; with it,
    also that the key is listed there and was valid `at` that time. Raises BadSignature, and PlimsollError where
    ssh-keygen is missing or there is no such file.
    """
    if not _is_canonical(signature):
        raise BadSignature("it does not have the form that ssh-keygen writes")
    with tempfile.TemporaryDirectory(prefix="plimsoll-") as folder:
        file = Path(folder, "signature")
        file.write_bytes(signature)
        good = _ask(["check-novalidate", "-n", NAMESPACE, "-s", str(file)], content)
        found = _KEY.search(good)
        if found is None:
            raise BadSignature(f"ssh-keygen says {one_line(good)!r}")
        if allowed_signers is None:
            return Signer(key=found["key"], principal=None)
        if not allowed_signers.is_file():
            raise PlimsollError(f"there is no file {allowed_signers} of allowed signers; see ssh-keygen(1)")
        when = [] if at is None else ["-O", f"verify-time={at.astimezone():%Y%m%d%H%M%S}"]
        named = ["-f", str(allowed_signers), "-s", str(file), *when]
        principals = _ask(["find-principals", *named], b"").splitlines()
        if not principals:
            raise BadSignature(f"{allowed_signers} does not name its key")
        _ask(["verify", *named, "-I", principals[0], "-n", NAMESPACE], content)
        return Signer(key=found["key"], principal=principals[0])


def _ask(arguments: list[str], content: bytes) -> str:
    done = subprocess.run(  # noqa: S603  the program was looked up, its arguments are ours
        [_program(), "-Y", *arguments], input=content, capture_output=True, check=False
    )
    said = (done.stdout or done.stderr).decode("utf-8", "replace").strip()
    if done.returncode:
        raise BadSignature(f"ssh-keygen says: {one_line(done.stderr.decode('utf-8', 'replace') or said)}")
    return said


def _program() -> str:
    found = shutil.which("ssh-keygen")
    if found is None:
        raise PlimsollError(
            "ssh-keygen is not installed, and it makes and checks signatures; install OpenSSH's client "
            "(Debian, Ubuntu: apt-get install openssh-client; Fedora: dnf install openssh)"
        )
    return found


def _is_canonical(signature: bytes) -> bool:
    """True for the canonical armour of a signature: ssh-keygen would accept other line breaks and unused base64
    bits."""
    if not signature.startswith(_HEAD) or not signature.endswith(_FOOT):
        return False
    try:
        raw = base64.b64decode(signature[len(_HEAD) : -len(_FOOT)].replace(b"\n", b""), validate=True)
    except binascii.Error:
        return False
    text = base64.b64encode(raw)
    lines = [text[start : start + _COLUMNS] + b"\n" for start in range(0, len(text), _COLUMNS)]
    return signature == _HEAD + b"".join(lines) + _FOOT
