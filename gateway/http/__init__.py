"""One route group a file; wire, headers, errors."""
