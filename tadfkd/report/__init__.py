"""What does a person see of a run? Nothing here imports torch."""
