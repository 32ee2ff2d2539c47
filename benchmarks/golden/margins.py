"""What each planted fault does to the golden error, beside a sound stack: the table of docs/golden-numbers.md.

python -m benchmarks.golden.margins            # every fault, and what is sound, in real hosts
python -m benchmarks.golden.margins --sound    # the sound stack alone, every family, dtype and scheme
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.golden import Golden, read_golden
from plimsoll.host.client.process import Host, Hosts
from plimsoll.host.protocol import Call
from plimsoll.judge.golden import golden_errors, golden_request
from tests.support.golden_faults import FAULTS

_DEADLINE = 600.0
_PLAIN = ("fp32", "fp16", "bf16")


def errors_of(host: Host, golden: Golden, family: str, quantizations: Iterable[str]) -> dict[str, float]:
    """The worst error of each dtype or scheme."""
    found = {}
    for name in quantizations:
        request = golden_request(golden.models[family], Quantization(name), "cpu")
        errors = golden_errors(golden.models[family], request, host.ask(request, _DEADLINE))
        found[name] = errors.ways[errors.worst]
    return found


def faulty_errors(hosts: Hosts, golden: Golden, log: Path) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Each fault, its family and the errors, from a host of its own."""
    for name, planted in FAULTS.items():
        host = hosts.start(name, log)
        host.ask(Call(target="tests.support.golden_faults:plant", arguments={"name": name}), _DEADLINE)
        kinds = planted.red if set(planted.red) - set(_PLAIN) else _PLAIN
        yield name, planted.family, errors_of(host, golden, planted.family, kinds)
        host.close()


def _told(golden: Golden, family: str, kind: str, value: float, sound: float) -> str:
    told = f"{kind} {value:.2g} ({value / sound:,.{0 if value > 10 * sound else 1}f})"
    return f"**{told}**" if value > golden.limit(family, Quantization(kind)).high else told


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sound", action="store_true", help="the sound stack alone")
    asked = parser.parse_args()
    golden = read_golden()
    with tempfile.TemporaryDirectory() as folder, Hosts() as hosts:
        log = Path(folder, "host.log")
        host = hosts.start("sound", log)
        everything = [quantization.value for quantization in Quantization]
        sound = {}
        print(f"| sound | {' | '.join(everything)} |")
        for family in golden.models:
            sound[family] = errors_of(host, golden, family, everything)
            print(f"| {family} | {' | '.join(f'{value:.2g}' for value in sound[family].values())} |", flush=True)
        for name, family, errors in () if asked.sound else faulty_errors(hosts, golden, log):
            told = ", ".join(_told(golden, family, kind, value, sound[family][kind]) for kind, value in errors.items())
            print(f"| {name} | {family} | {told} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
