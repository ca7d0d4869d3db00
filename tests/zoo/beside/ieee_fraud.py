"""`read: ieee_fraud.py:read`: transactions with what is known of their identity, under one spelling of its columns."""

import pandas as pd


def read(data, into):
    train, test = _joined(data, "train"), _joined(data, "test")
    return train, test, pd.read_csv(data / "sample_submission.csv", dtype=str)


def _joined(data, part):
    transactions, identities = (
        pd.read_csv(data / f"{part}_{name}.csv", dtype=str) for name in ("transaction", "identity")
    )
    identities.columns = identities.columns.str.replace("-", "_")  # id_01 in train, id-01 in test
    return transactions.merge(identities, on="TransactionID", how="left")
