"""The tabular task: columns, features and models of CSV tables."""
