"""What imports torch when it is imported, seen in a fresh interpreter: nothing of the controller's."""

from __future__ import annotations

import subprocess
import sys

from tests.unit.test_architecture import ROOT, TORCH_FAMILY, TORCH_SIDE, modules


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
