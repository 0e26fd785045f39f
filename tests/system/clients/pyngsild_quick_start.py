# SPDX-License-Identifier: Apache-2.0
"""The quick start of pyngsild (its README, "Getting started") run against the hub whose port is given.

The answer of the web API that the README asks is made up here; all else is as it stands there but the
port. ngsildclient is locked below 0.1.6, from which on its iso8601.utcnow() gives no text, so that the ids made here
have a blank in them, and are no URIs.
"""

import sys

from pyngsild import *  # isort: skip
from ngsildclient import *

COMPANIES = [
    {
        "name": f"Company {number}",
        "symbol": f"NASDAQ:C{number}",
        "country": "US",
        "total_holdings": 1000 + number,
        "total_current_value_usd": 1_000_000 * number,
    }
    for number in range(27)
]


class Answer:
    """What requests.get would have returned."""

    def json(self) -> dict:
        return {"companies": COMPANIES}


src = SourceApi(Answer, path="companies", provider="CoinGecko API")


def build_entity(row: Row) -> Entity:
    record: dict = row.record
    market, symbol = [x.strip() for x in record["symbol"].split(":")]
    e = Entity("BitcoinCapitalization", f"{market}:{symbol}:{iso8601.utcnow()}")
    e.obs()
    e.prop("dataProvider", row.provider)
    e.prop("companyName", record["name"])
    e.prop("stockMarket", market)
    e.prop("stockSymbol", symbol)
    e.prop("country", record["country"])
    e.prop("totalHoldings", record["total_holdings"], unitcode="BTC", observedat=Auto)
    e.prop("totalValue", record["total_current_value_usd"], unitcode="USD", observedat=Auto)
    return e


sink = SinkNgsi(port=int(sys.argv[1]))
agent = Agent(src, sink, process=build_entity)
agent.run()
print(agent.stats)
assert agent.stats.output == 27, agent.stats
agent.close()
