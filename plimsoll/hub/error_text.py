"""Reduces an error of the Hub or the network to one line for reports, without secrets or HTML.

Runs in the Hub's own process.
"""

from __future__ import annotations

import ssl
from typing import Final

from huggingface_hub.errors import HfHubHTTPError

from plimsoll.hub.retry import seconds_to_wait
from plimsoll.redaction import Redactor

_LONGEST: Final = 300


def in_words(error: BaseException, *, of_rows: bool = False) -> str:
    """One line about an error, at most 300 characters. With `of_rows`, it was raised while rows were made of what the
    Hub had given, so that its answer is not at fault."""
    redact = Redactor.from_environment()
    if isinstance(error, HfHubHTTPError):
        text = _of_the_hub(error)
    else:
        text = f"{type(error).__name__}: {_first_line(str(error)) or 'no message'}"
        if not (of_rows or is_of_the_network(error) or is_of_the_proxy(error) or isinstance(error, OSError)):
            # A gateway's page, or a proxy that answers instead of the Hub.
            text = f"not what a Hub answers, {text}"
    text = redact(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def is_of_the_network(error: BaseException) -> bool:
    """True for an error on the way to the Hub: no route, no name, no proxy, no certificate, no byte in time. Releases
    of huggingface_hub use different HTTP libraries (httpx, httpx2), so their errors are recognised by module.
    """
    return isinstance(error, ConnectionError | TimeoutError) or any(
        kind.__name__ == "TransportError" and kind.__module__.startswith("httpx") for kind in type(error).__mro__
    )


def is_of_the_proxy(error: BaseException) -> bool:
    """True where the proxy in the environment is at fault: it does not answer, or its protocol needs a library that is
    not installed."""
    if any(kind.__name__ == "ProxyError" for kind in type(error).__mro__):
        return True
    text = str(error)
    return (isinstance(error, ImportError) and "SOCKS" in text.upper()) or "scheme for proxy URL" in text


def is_of_a_certificate(error: BaseException) -> bool:
    """True where the answering server's certificate was not accepted."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _of_the_hub(error: HfHubHTTPError) -> str:
    said = _first_line(error.server_message or "")
    wait = seconds_to_wait(error.response.headers)
    asks = "" if wait is None else f", asking to wait {wait:.0f} s"
    return f"HTTP {error.response.status_code}{asks}" + (f": {said}" if said else "")


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
