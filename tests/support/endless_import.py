"""A module whose import does not end: what hosts wait for on a cold disk."""

import time

time.sleep(3600)
