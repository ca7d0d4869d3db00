"""Competitions of tables that ask for numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from zoo import judging, making
from zoo.entry import Entry

HOUSE = """MSSubClass=60,20 MSZoning=RL,RM LotFrontage=65,NA LotArea=8450,9600 Street=Pave Alley=NA LotShape=Reg,IR1
LandContour=Lvl Utilities=AllPub LotConfig=Inside,FR2 LandSlope=Gtl Neighborhood=CollgCr,Veenker,OldTown Condition1=Norm
Condition2=Norm BldgType=1Fam HouseStyle=2Story,1Story OverallQual=7,6,8,5 OverallCond=5,8 YearBuilt=2003,1976,1915
YearRemodAdd=2003,1976 RoofStyle=Gable RoofMatl=CompShg Exterior1st=VinylSd,MetalSd Exterior2nd=VinylSd,MetalSd
MasVnrType=BrkFace,None,NA MasVnrArea=196,0 ExterQual=Gd,TA ExterCond=TA Foundation=PConc,CBlock BsmtQual=Gd,TA,NA
BsmtCond=TA BsmtExposure=No,Gd,Mn BsmtFinType1=GLQ,ALQ BsmtFinSF1=706,978 BsmtFinType2=Unf BsmtFinSF2=0
BsmtUnfSF=150,284,434 TotalBsmtSF=856,1262 Heating=GasA HeatingQC=Ex,TA CentralAir=Y,N Electrical=SBrkr 1stFlrSF=856,1262
2ndFlrSF=854,0 LowQualFinSF=0 GrLivArea=1710,1262,1786 BsmtFullBath=1,0 BsmtHalfBath=0,1 FullBath=2,1 HalfBath=1,0
BedroomAbvGr=3,4 KitchenAbvGr=1 KitchenQual=Gd,TA TotRmsAbvGrd=8,6,7 Functional=Typ Fireplaces=0,1 FireplaceQu=NA,TA
GarageType=Attchd,Detchd GarageYrBlt=2003,1976,NA GarageFinish=RFn,Unf GarageCars=2,3 GarageArea=548,460 GarageQual=TA
GarageCond=TA PavedDrive=Y WoodDeckSF=0,298 OpenPorchSF=61,0 EnclosedPorch=0,272 3SsnPorch=0 ScreenPorch=0 PoolArea=0
PoolQC=NA Fence=NA,MnPrv MiscFeature=NA MiscVal=0 MoSold=2,5,9 YrSold=2008,2007 SaleType=WD SaleCondition=Normal,Abnorml"""


def house_prices(folder: Path) -> None:
    """79 columns in which NA is missing, or says that a house has none; the prices are scored by their logarithm."""
    rng = np.random.default_rng(0)
    values = {name: cells.split(",") for name, _, cells in (word.partition("=") for word in HOUSE.split())}
    rows: list[list[object]] = []
    for n in range(1, 121):
        cells = {name: some[int(rng.integers(len(some)))] for name, some in values.items()}
        price = 40_000 + 20_000 * int(cells["OverallQual"]) + 500 * int(rng.integers(0, 20))
        rows.append([n, *cells.values(), price])
    columns = ",".join(["Id", *values])
    making.table(folder / "train.csv", f"{columns},SalePrice", rows[:90])
    making.table(folder / "test.csv", columns, [r[:-1] for r in rows[90:]])
    asked = [(r[0], 169277.0524984 + 1000 * n) for n, r in enumerate(rows[90:])]
    making.table(folder / "sample_submission.csv", "Id,SalePrice", asked)
    (folder / "data_description.txt").write_text("MSSubClass: Identifies the type of dwelling involved in the sale.\n")


def taxi_fare(folder: Path) -> None:
    """The key is a date with seven decimals of a second; train and test are of the same years."""
    rng = np.random.default_rng(0)
    times = pd.to_datetime("2009-06-15 17:26:21") + pd.to_timedelta(rng.integers(0, 2000 * 86400, 150), unit="s")
    rows: list[list[object]] = []
    for n, time in enumerate(times):
        start, end = rng.normal([-73.97, 40.75], 0.05), rng.normal([-73.97, 40.75], 0.05)
        fare = round(2.5 + 100 * float(np.abs(end - start).sum()), 1)
        rows.append([f"{time}.0000{n % 9 + 1:03d}", fare, f"{time} UTC", *start, *end, n % 6 + 1])
    columns = "pickup_datetime,pickup_longitude,pickup_latitude,dropoff_longitude,dropoff_latitude,passenger_count"
    making.table(folder / "train.csv", f"key,fare_amount,{columns}", rows[:120])
    making.table(folder / "test.csv", f"key,{columns}", [[r[0], *r[2:]] for r in rows[120:]])
    making.table(folder / "sample_submission.csv", "key,fare_amount", [(r[0], 11.35) for r in rows[120:]])
    (folder / "GCP-Coupons-Instructions.rtf").write_text("{\\rtf1}\n")


def conductors(folder: Path) -> None:
    """Two targets; ids count from 1 in train and again in test; the atoms lie in <part>/<id>/geometry.xyz."""
    rng = np.random.default_rng(0)
    columns = "spacegroup,number_of_total_atoms,percent_atom_al,percent_atom_ga,percent_atom_in"
    columns += ",lattice_vector_1_ang,lattice_vector_2_ang,lattice_vector_3_ang"
    columns += ",lattice_angle_alpha_degree,lattice_angle_beta_degree,lattice_angle_gamma_degree"
    targets = "formation_energy_ev_natom,bandgap_energy_ev"
    tables: dict[str, list[list[object]]] = {"train": [], "test": []}
    for part, count in (("train", 100), ("test", 25)):
        for n in range(1, count + 1):
            share = rng.dirichlet([1, 1, 1]).round(4)
            group, atoms = [(33, 80.0), (194, 40.0), (227, 80.0), (12, 10.0), (167, 30.0), (206, 80.0)][
                int(rng.integers(6))
            ]
            cells = [group, atoms, *share, *rng.normal(10, 3, 3).round(4), *rng.normal(90, 1, 3).round(4)]
            energies = [round(0.1 + 0.2 * share[0], 4), round(2 + 3 * share[0], 4)]
            tables[part].append([n, *cells, *(energies if part == "train" else ())])
            atom = folder / part / str(n) / "geometry.xyz"
            atom.parent.mkdir(parents=True, exist_ok=True)
            atom.write_text("lattice_vector 9.9523 0.0 0.0\natom 0.0 0.0 0.0 Ga\n")
    making.table(folder / "train.csv", f"id,{columns},{targets}", tables["train"])
    making.table(folder / "test.csv", f"id,{columns}", tables["test"])
    making.table(folder / "sample_submission.csv", f"id,{targets}", [(n, 0.1779, 1.8892) for n in range(1, 26)])


def bike_sharing(folder: Path) -> None:
    """Hours of two years: the first 19 days of a month in train, the rest in test; the id is the time. casual and
    registered, which sum to count, are in train alone."""
    rng = np.random.default_rng(0)
    hours = pd.date_range("2011-01-01", "2012-12-31", freq="31h")
    columns = "datetime,season,holiday,workingday,weather,temp,atemp,humidity,windspeed"
    tables: dict[bool, list[list[object]]] = {True: [], False: []}
    for hour in hours:
        known, warm = hour.day < 20, 15 + 10 * np.sin(hour.day_of_year / 58) + rng.normal()
        casual, registered = int(rng.poisson(30)), int(rng.poisson(10 * hour.hour + 1))
        cells = [str(hour), hour.quarter, 0, int(hour.day_of_week < 5), int(rng.integers(1, 4)), round(warm, 2),
                 round(warm + 3, 3), int(rng.integers(30, 90)), round(float(rng.random() * 30), 4)]  # fmt: skip
        tables[known].append([*cells, *((casual, registered, casual + registered) if known else ())])
    making.table(folder / "train.csv", f"{columns},casual,registered,count", tables[True])
    making.table(folder / "test.csv", columns, tables[False])
    making.table(folder / "sampleSubmission.csv", "datetime,count", [(r[0], 0) for r in tables[False]])


def store_sales(folder: Path) -> None:
    """A row a day, store and family; test is the fortnight after train; oil, stores, holidays and transactions beside."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2017-07-01", periods=26).strftime("%Y-%m-%d")
    families, rows = ("AUTOMOTIVE", "BEAUTY", "BREAD/BAKERY"), []
    for day in days:
        for store in (1, 10):
            for place, family in enumerate(families):
                sold = round(float(rng.gamma(2, 1 + 20 * place)), 3)
                rows.append([3_000_000 + len(rows), day, store, family, sold, int(rng.integers(0, 5))])
    cut = 20 * len(families) * 2
    making.table(folder / "train.csv", "id,date,store_nbr,family,sales,onpromotion", rows[:cut])
    making.table(folder / "test.csv", "id,date,store_nbr,family,onpromotion", [[*r[:4], r[5]] for r in rows[cut:]])
    making.table(folder / "sample_submission.csv", "id,sales", [(r[0], "0.0") for r in rows[cut:]])
    making.table(folder / "oil.csv", "date,dcoilwtico", [(day, "" if n == 0 else 46.8) for n, day in enumerate(days)])
    making.table(
        folder / "stores.csv",
        "store_nbr,city,state,type,cluster",
        [(s, "Quito", "Pichincha", "D", 13) for s in (1, 10)],
    )
    making.table(folder / "holidays_events.csv", "date,type,locale,locale_name,description,transferred",
                 [("2017-07-03", "Holiday", "Local", "El Carmen", "Cantonizacion de El Carmen", "False")])  # fmt: skip
    making.table(folder / "transactions.csv", "date,store_nbr,transactions", [(day, 1, 1700) for day in days[:20]])


def judge_from_zero(submission: Path, folder: Path) -> list[str]:
    return judging.form(submission, _sample(folder)) or judging.numbers(submission, 0)


def judge_numbers(submission: Path, folder: Path) -> list[str]:
    return judging.form(submission, _sample(folder)) or judging.numbers(submission)


def _sample(folder: Path) -> Path:
    return next(folder.glob("sample*ubmission.csv"))


VALUES = [
    Entry(
        slug="house-prices-advanced-regression-techniques",
        build=house_prices,
        judge=judge_from_zero,
        metric="rmsle",
        infers={
            "id": "Id",
            "kind": "regression",
            "target": "SalePrice",
            "metric": "rmsle",
            "folds.scheme": "stratified",
        },
        command="tabular",
    ),
    Entry(
        slug="new-york-city-taxi-fare-prediction",
        build=taxi_fare,
        judge=judge_numbers,
        infers={
            "train": "train.csv",
            "test": "test.csv",
            "id": "key",
            "kind": "regression",
            "target": "fare_amount",
            "metric": "rmse",
            "folds.scheme": "stratified",
        },
        command="tabular",
    ),
    Entry(
        slug="nomad2018-predict-transparent-conductors",
        build=conductors,
        judge=judge_from_zero,
        metric="mean_column_rmsle",
        infers={
            "train": "train.csv",
            "id": "id",
            "kind": "regression",
            "target": ["formation_energy_ev_natom", "bandgap_energy_ev"],
            "metric": "mean_column_rmsle",
            "folds.scheme": "stratified",
            "folds.group": None,
        },
        command="tabular",
    ),
    Entry(
        slug="bike-sharing-demand",
        build=bike_sharing,
        judge=judge_from_zero,
        metric="rmsle",
        infers={
            "sample": "sampleSubmission.csv",
            "id": "datetime",
            "kind": "regression",
            "target": "count",
            "metric": "rmsle",
            "folds.scheme": "time",
            "folds.time": "datetime",
        },
        command="tabular",
    ),
    Entry(
        slug="store-sales-time-series-forecasting",
        build=store_sales,
        judge=judge_from_zero,
        metric="rmsle",
        infers={
            "train": "train.csv",
            "test": "test.csv",
            "sample": "sample_submission.csv",
            "id": "id",
            "kind": "regression",
            "target": "sales",
            "metric": "rmsle",
            "folds.scheme": "time",
            "folds.time": "date",
        },
        command="tabular",
    ),
]
