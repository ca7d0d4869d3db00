"""Well-known competitions in miniature: each one's folder in its exact form, made by code, and its host's checks."""
