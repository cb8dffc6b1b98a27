"""From a path to decoded bytes: which files may be read, under which limits, in which process."""
