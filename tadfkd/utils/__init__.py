"""What does every room need? Import from the module itself."""
