"""Dates, time zones and values of pandas come back from files as they were."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from skensemble._persistence.container import Fault
from skensemble._persistence.moments import make_pandas, make_zone, write_pandas, zone_name
from skensemble._persistence.tree import Decoder, Encoder


class Odd(type(UTC).__bases__[0]):
    """A time zone of ones own."""


@pytest.mark.parametrize(
    "zone",
    [None, UTC, ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=-3)),
     timezone(timedelta(seconds=90), "mine")],
)  # fmt: skip
def test_zones_come_back(zone):
    found = make_zone(zone_name(zone))
    assert type(found) is type(zone)
    summer = datetime(2024, 7, 1)
    assert (zone is None) == (found is None)
    if zone is not None:
        assert found.utcoffset(summer) == zone.utcoffset(summer)
        assert found.tzname(summer) == zone.tzname(summer)


def test_unknown_zones_are_refused():
    with pytest.raises(ValueError, match="a time zone of the type Odd"):
        zone_name(Odd())
    for tree in ({"key": "Nowhere"}, {"key": "../UTC"}, {"key": 3}):
        with pytest.raises(Fault, match="unknown time zone"):
            make_zone(tree)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_moments_of_pandas_keep_their_unit_and_zone(unit, zone):
    value = pd.Timestamp("2024-03-10 06:30:01", tz=zone).as_unit(unit)
    found = make_pandas(Decoder({}), write_pandas(Encoder(None), value))
    assert (found, found.unit, str(found.tz)) == (value, unit, str(value.tz))
    assert isinstance(found, pd.Timestamp)


def test_what_is_no_value_is_no_kind_of_pandas():
    assert write_pandas(Encoder(None), pd.offsets.Day(3)) is None
    with pytest.raises(Fault, match="unknown kind 'eval'"):
        make_pandas(Decoder({}), {"$": "pandas", "kind": "eval", "of": "1"})
