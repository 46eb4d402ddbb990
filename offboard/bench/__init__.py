"""The transfer benchmark: method × pair × seed, its scores and its report."""
