"""``fit``, its history, saved runs and callbacks."""
