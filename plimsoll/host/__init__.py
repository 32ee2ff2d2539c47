"""Host processes, each with one loaded variant: their protocol, the controller's side (client) and their own
(server)."""
