"""The manual of the checks: what each one proves, its limit, what makes it fail and what to do.

The checks' own docstrings say it; `reading.py` reads them, `page.py` makes docs/checks/ of them.
"""
