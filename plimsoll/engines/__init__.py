"""What schedulers and monitoring are given: batch scripts, stamps of acceptance, manifests, figures."""
