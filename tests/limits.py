"""Time limits of the tests, in real seconds.

They only end a test that hangs. Each is at least ten times the usual duration, because a busy machine (load average
20 on 2 cores) needs that long. A test that measures a duration uses a fake clock, or the order of events.
"""

ANSWER_LIMIT_S = 120.0
"""For a request, a message or a change on a page. It usually takes milliseconds, at most a few seconds."""
PROCESS_LIMIT_S = 300.0
"""For a process to start, to work or to stop. It usually takes a few seconds, most of them for imports."""
