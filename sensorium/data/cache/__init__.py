"""What frozen encoders computed, kept on disk: by the content of a cell and everything the tokens depend on."""

from sensorium.data.cache.digest import CacheKey, content_digest, weights_digest
from sensorium.data.cache.store import PaddedTokens, StoredTokens, TokenStore
from sensorium.data.cache.token_cache import CacheEntry, TokenCache

__all__ = ["CacheEntry", "CacheKey", "PaddedTokens", "StoredTokens", "TokenCache", "TokenStore", "content_digest",
           "weights_digest"]
