"""The code inside host processes: the only code that imports torch, transformers and bitsandbytes."""
