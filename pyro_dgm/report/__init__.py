"""Self-contained pages that set models side by side."""
