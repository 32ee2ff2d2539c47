"""The controller's side of host processes: what can be asked, starting, waiting, and ending them."""
