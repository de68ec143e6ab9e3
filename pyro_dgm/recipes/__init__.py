"""Named default configurations: a model, its objective, its data and the settings that train it.

The tour and the command line are built from these; they stand above ``inference`` and below ``report``.
"""
