"""Plans what would run where and what it would take, on this node and on reference machines."""
