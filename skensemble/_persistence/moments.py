"""Dates, times and time zones in the tree of a file, and values of pandas'."""

from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from skensemble._types import Options
from skensemble._warnings import short

from .container import Fault


def zone_name(zone: tzinfo | None) -> Any:
    if zone is None:
        return None
    if zone is UTC:
        return "UTC"
    if isinstance(zone, ZoneInfo) and zone.key:
        return {"$": "zone", "key": zone.key}
    if type(zone) is timezone:
        seconds = zone.utcoffset(None).total_seconds()
        name = zone.tzname(None)
        return {"$": "zone", "seconds": seconds, "name": name if _is_named(zone) else None}
    key = getattr(zone, "zone", None)  # of pytz
    if isinstance(key, str):
        return {"$": "zone", "key": key}
    raise ValueError(f"a time zone of the type {type(zone).__name__}")


def _is_named(zone: timezone) -> bool:
    return zone.tzname(None) != timezone(zone.utcoffset(None)).tzname(None)


def make_zone(tree: Any) -> tzinfo | None:
    if tree is None:
        return None
    if tree == "UTC":
        return UTC
    if "key" in tree:
        try:
            return ZoneInfo(tree["key"])
        except (KeyError, ValueError, OSError, TypeError) as error:
            raise Fault(f"the unknown time zone {short(tree['key'])}") from error
    distance = timedelta(seconds=tree["seconds"])
    name = tree.get("name")
    return timezone(distance) if name is None else timezone(distance, name)


def write_datetime(encoder: Any, value: datetime) -> Options:
    parts = [*value.timetuple()[:6], value.microsecond, value.fold]
    return {"of": parts, "zone": zone_name(value.tzinfo)}


def make_datetime(decoder: Any, tree: Options) -> datetime:
    year, month, day, hour, minute, second, microsecond, fold = tree["of"]
    zone = make_zone(tree["zone"])
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def write_time(encoder: Any, value: time) -> Options:
    parts = [value.hour, value.minute, value.second, value.microsecond, value.fold]
    return {"of": parts, "zone": zone_name(value.tzinfo)}


def make_time(decoder: Any, tree: Options) -> time:
    hour, minute, second, microsecond, fold = tree["of"]
    return time(hour, minute, second, microsecond, make_zone(tree["zone"]), fold=fold)


def write_pandas(encoder: Any, value: Any) -> Options | None:
    """Write the values of pandas that may be labels, categories, or names of columns."""
    import pandas as pd

    if value is pd.NaT or value is pd.NA:
        return {"$": "pandas", "kind": "NaT" if value is pd.NaT else "NA"}
    kind = type(value).__name__
    made: Options = {"$": "pandas", "kind": kind}
    if isinstance(value, pd.Timestamp):
        return {**made, "of": value.asm8.astype(np.int64).item(), "unit": value.unit,
                "zone": zone_name(value.tzinfo)}  # fmt: skip
    if isinstance(value, pd.Timedelta):
        return {**made, "of": value.asm8.astype(np.int64).item(), "unit": value.unit}
    if isinstance(value, pd.Period):
        return {**made, "of": value.ordinal, "unit": value.freqstr}
    if isinstance(value, pd.Interval):
        ends = [encoder.encode(value.left), encoder.encode(value.right)]
        return {**made, "of": ends, "closed": value.closed}
    if isinstance(value, pd.Index | pd.Series):
        kind = "Index" if isinstance(value, pd.Index) else "Series"
        return {**made, "kind": kind, "of": encoder.encode(value.to_numpy())}
    return None


def make_pandas(decoder: Any, tree: Options) -> Any:
    import pandas as pd

    kind, of, unit = tree["kind"], tree.get("of"), tree.get("unit")
    if kind in ("NaT", "NA"):
        return getattr(pd, kind)
    if kind in ("Timestamp", "Timedelta"):
        if type(of) is not int or unit not in ("s", "ms", "us", "ns"):
            raise Fault("a moment that is none")
        if kind == "Timedelta":
            return pd.Timedelta(np.timedelta64(of, unit)).as_unit(unit)
        zone = make_zone(tree["zone"])
        plain = pd.Timestamp(np.datetime64(of, unit)).as_unit(unit)
        return plain if zone is None else plain.tz_localize("UTC").tz_convert(zone)
    if kind == "Period":
        return pd.Period(ordinal=of, freq=unit)
    if kind == "Interval":
        return pd.Interval(*decoder.many(of), closed=tree["closed"])
    if kind in ("Index", "Series"):
        return getattr(pd, kind)(decoder.part(of))
    raise Fault(f"a value of pandas' of the unknown kind {short(kind)}")
