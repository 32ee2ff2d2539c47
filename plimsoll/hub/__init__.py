"""The Hugging Face Hub: whether a repository may be read, and its files on this disk, pinned and checked."""
