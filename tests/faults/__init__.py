"""The catalogue of faults: what breaks such pipelines, by its number, made by code, and what a user is told of it."""
