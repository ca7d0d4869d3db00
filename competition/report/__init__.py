"""The page: `make report COMP=leaves` writes one HTML file that needs nothing beside it."""
