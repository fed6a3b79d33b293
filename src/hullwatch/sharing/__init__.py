"""What several server processes share through Redis. What may be shared is decided in services; losing Redis loses nothing but speed."""
