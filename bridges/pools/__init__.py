"""Pools of reusable buffers, put together from small parts.

`BufferPool` makes buffers and uses them again. The others stand in front of any pool and add one
thing each: `LimitPool` a bound, `StatisticsPool` counters, `TrackingPool` who holds what. So
``TrackingPool(LimitPool(BufferPool(make), 8))`` has at most eight buffers in use and knows where
each of them is.
"""

from bridges.pools.buffer_pool import BufferPool
from bridges.pools.limit_pool import LimitPool
from bridges.pools.pool import Lease, Pool
from bridges.pools.statistics_pool import PoolStatistics, StatisticsPool
from bridges.pools.tracking_pool import Holder, TrackingPool

__all__ = [
    "BufferPool",
    "Holder",
    "Lease",
    "LimitPool",
    "Pool",
    "PoolStatistics",
    "StatisticsPool",
    "TrackingPool",
]
