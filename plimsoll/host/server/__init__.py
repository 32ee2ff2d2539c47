"""What runs inside a host process: the only code that imports torch, transformers and bitsandbytes."""
