"""Many nodes as one: the verdict over all of them, what differs between them, and which of them are odd."""
