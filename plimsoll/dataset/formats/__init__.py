"""One module for each official format: what its rows hold, as the Hub lays them out and as its own files do."""
