"""What runs compiled programs: memory, threads, loading, caching. Knows nothing of IR."""
