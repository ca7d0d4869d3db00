"""The tabular task: typed columns, features, boosters and networks on them."""
