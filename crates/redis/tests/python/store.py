"""A data store on Redis for the official Python SDK, which has none of its own: values as JSON."""

from __future__ import annotations

import json
from typing import Any, Optional

import redis


class RedisStore:
    """The store interface of the SDK, over redis-py."""

    def __init__(self, url: str, prefix: str = "") -> None:
        self.client = redis.Redis.from_url(url)
        self.prefix = prefix

    def get(self, key: str) -> Any:
        text = self.client.get(self.prefix + key)
        return None if text is None else json.loads(text)

    def set(self, key: str, value: Any, ttl: Optional[int] = None) -> None:
        self.client.set(self.prefix + key, json.dumps(value), ex=ttl)

    def has(self, key: str) -> bool:
        return bool(self.client.exists(self.prefix + key))

    def delete(self, key: str) -> None:
        self.client.delete(self.prefix + key)
