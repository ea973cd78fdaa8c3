"""Results to keep and to pass on: tables, films, archives, reports, notebook cells."""
