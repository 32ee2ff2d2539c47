"""The controller's side of host processes: starts them, sends requests, waits, and ends them."""
