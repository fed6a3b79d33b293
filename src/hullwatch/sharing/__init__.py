"""Shares confirmed sessions between server processes through Redis; losing Redis loses only speed."""
