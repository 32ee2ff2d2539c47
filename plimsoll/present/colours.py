"""The colours of pages and pictures: one for each role, for light and dark screens and for paper.

They stand apart from the drawing, because a page has them whether or not pictures can be drawn. Those of categories are
by Okabe and Ito, darkened for white paper and lightened for the dark until each has a contrast of 3 or more.
"""

from __future__ import annotations

from typing import Final

COLOURS: Final = """
:root { color-scheme: light dark; --ink: #1f2328; --faint: #57606a; --paper: #ffffff; --panel: #f6f8fa;
  --rule: #d0d7de; --good: #116329; --near: #7d4e00; --bad: #a40e26; --gap: #0550ae; --cat-1: #0072b2;
  --cat-2: #c14f00; --cat-3: #007a58; --cat-4: #a8487f; --cat-5: #7d6400; --cat-6: #555555; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --faint: #9da7b3; --paper: #0d1117; --panel: #161b22;
  --rule: #3d444d; --good: #56d364; --near: #e3b341; --bad: #ff8e88; --gap: #79c0ff; --cat-1: #56b4e9;
  --cat-2: #ff9a4d; --cat-3: #2fc79a; --cat-4: #e39bc4; --cat-5: #f0e442; --cat-6: #c9d1d9; } }
@media print { :root { color-scheme: light; --ink: #000; --faint: #333; --paper: #fff; --panel: #fff; --rule: #777;
  --good: #0b4a1e; --near: #5c3900; --bad: #85091d; --gap: #043a80; --cat-1: #0072b2; --cat-2: #c14f00;
  --cat-3: #007a58; --cat-4: #a8487f; --cat-5: #7d6400; --cat-6: #555555; } }
"""
"""The variables, for a page or an SVG file that stands alone; each role stands out from the paper by a contrast of 4.5.
"""
