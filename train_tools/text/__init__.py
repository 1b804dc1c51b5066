"""Text as people have it: sources to files, files to rows of one column, rows to a cache, rows to token ids."""
