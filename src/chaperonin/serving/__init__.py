"""The endpoint: a server that batches requests by tokens, its page, and its contracts with other platforms."""
