"""Charts of the docs site: each function gives the numbers of one, from committed CSV files or the package itself."""
