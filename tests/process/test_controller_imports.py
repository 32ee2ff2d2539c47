"""What imports torch when it is imported, seen in a fresh interpreter: nothing of the controller's."""

from __future__ import annotations

import subprocess
import sys

from tests.support.sources import ROOT, modules
from tests.unit.test_architecture import TORCH_FAMILY, TORCH_SIDE


def test_controller_modules_import_without_torch() -> None:
    names = []
    for folder in ("plimsoll", "fixtures"):
        for path in modules(folder):
            relative = str(path.relative_to(ROOT))
            if not relative.startswith(TORCH_SIDE) and path.name != "__main__.py":
                names.append(relative.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    script = "import importlib, sys\n" + "".join(f"importlib.import_module({name!r})\n" for name in names)
    script += f"print(sorted({TORCH_FAMILY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_drawing_libraries_are_imported_when_something_is_drawn() -> None:
    script = (
        "import sys\nimport plimsoll.report.page, plimsoll.report.rows, plimsoll.report.write, plimsoll.compare.texts\n"
        "import plimsoll.uncertainty.section, plimsoll.commands.compare, plimsoll.commands.report\n"
        "before = {'jinja2', 'markupsafe', 'matplotlib', 'numpy', 'jsonschema'} & set(sys.modules)\n"
        "from plimsoll.present import html\nfrom plimsoll.present.document import Paragraph\n"
        "html.framed('', '', [Paragraph(words='x')])\nprint(sorted(before), 'jinja2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"
