"""Child processes that get one job as JSON and answer in lines of JSON."""
