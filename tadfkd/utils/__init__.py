"""Helpers that belong to no single role; import from the module you need."""
