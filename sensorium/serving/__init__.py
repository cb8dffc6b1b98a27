"""A trained model behind HTTP, and its page."""
