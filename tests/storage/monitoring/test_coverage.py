"""Queries of coverage and the daily summary: lines of a kind, lines about the server, heartbeats."""

from dataclasses import replace

from sqlalchemy import event, insert, text

from hullwatch.domain.monitoring.coverage import SINCE
from hullwatch.domain.notifications.notifications import ChannelKind, NotificationKind
from hullwatch.domain.signals.signals import SignalCounts
from hullwatch.storage.models import ChannelKindRow, ChannelRow
from storage.samples import NOW, add_users, after, audit_entry, signal, watch

STATUS = "monitoring.status"


async def test_lines_of_a_kind_come_whole_and_in_order(store):
    """Of one user or of all, of exactly that kind, in the order in which they were appended."""
    lines = [
        audit_entry(number, kind=STATUS, to_state=f"s{number}", user_id=user_id)
        for number, user_id in enumerate(["asha", "ravi", "asha"])
    ]
    evidence = {SINCE: NOW.isoformat()}
    same = [replace(lines[2], to_state="t", evidence=evidence), replace(lines[2], to_state="u")]
    other = [audit_entry(1, kind=f"{STATUS}_of_another"), audit_entry(9, kind=STATUS)]
    async with store.begin() as work:
        await work.audit.add([*lines, *same, *other])
        await work.commit()

    async with store.begin(read_only=True) as work:
        everybody = await work.audit.lines(STATUS, since=NOW, before=after(9))
        asha = await work.audit.lines(STATUS, since=after(1), before=after(9), user_id="asha")

    assert everybody == [*lines, *same]
    assert asha == [lines[2], *same]


async def test_lines_about_the_server_begin_with_the_one_before(store):
    """The line before shows the state of the server at the start of the period."""
    lines = [
        audit_entry(number, kind=kind, user_id=None)
        for number, kind in enumerate(
            ["server.started", "server.stopped", "server.started", "server.resumed"]
        )
    ]
    async with store.begin() as work:
        await work.audit.add([*lines, audit_entry(2, user_id=None), audit_entry(2, kind="server.odd")])
        await work.commit()

    async with store.begin(read_only=True) as work:
        assert await work.audit.server_lines(since=after(2)) == lines[1:]
        assert await work.audit.server_lines(since=NOW) == lines
        assert await work.audit.server_lines(since=after(60)) == lines[-1:]


async def test_a_heartbeat_replaces_the_last_one(store):
    """Only one moment is stored, whatever the number of heartbeats."""
    async with store.begin(read_only=True) as work:
        assert await work.audit.last_heartbeat() is None
    for number in range(3):
        async with store.begin() as work:
            await work.audit.record_heartbeat(after(number))
            await work.commit()

    async with store.begin(read_only=True) as work:
        assert await work.audit.last_heartbeat() == after(2)


async def test_the_latest_line_before_a_moment(store):
    """The day of each account starts in the state of this line."""
    await add_users(store, "asha", "ravi")
    lines = [audit_entry(number, kind=STATUS, to_state=f"s{number}") for number in range(3)]
    async with store.begin() as work:
        await work.audit.add(lines)
        await work.commit()

    async with store.begin(read_only=True) as work:
        assert await work.audit.latest_by_user(kind_prefix=STATUS, before=after(2)) == {"asha": lines[1]}
        assert await work.audit.latest_by_user(kind_prefix=STATUS, before=NOW) == {}


async def test_signals_are_counted_in_time_and_late(store):
    """Only the period and the given users count; users without signals are left out."""
    await add_users(store, "asha", "ravi", "meena")
    async with store.begin() as work:
        await work.watches.add(watch())
        await work.watches.add_signals(
            [
                signal(0),
                signal(5, is_late=True),
                signal(10),
                signal(15, is_late=True),
                signal(5, "w4", is_late=True, withdrawn_at=after(9)),
                signal(5, "w5", withdrawn_at=after(9)),
                signal(5, "w2", "ravi", is_late=True),
                signal(5, "w3", "meena"),
            ]
        )
        await work.commit()

    async with store.begin(read_only=True) as work:
        count = work.watches.count_signals
        assert await count(["asha", "ravi", "nobody"], since=NOW, before=after(15)) == {
            "asha": SignalCounts(on_time=2, late=1, withdrawn=2),
            "ravi": SignalCounts(late=1),
        }
        assert await count(["meena"], since=after(6), before=after(15)) == {}
        assert await count([], since=NOW, before=after(15)) == {}


async def test_counting_signals_reads_the_day_of_these_users_alone(database):
    """The plan uses the index by user and moment, whatever other users and days have."""
    store = database.open()
    users = [f"u{number}" for number in range(20)]
    await add_users(store, *users)
    months = [signal(5 * 1440 * number, f"w-{one}", one) for one in users for number in range(100)]
    async with store.begin() as work:
        await work.watches.add_signals(months)
        await work.commit()

    async with store.begin() as work:
        transaction = work.watches._transaction
        if transaction.is_postgresql:
            await transaction.execute(text("ANALYZE signals"))
        statements: list[tuple] = []

        def see(connection, cursor, statement, parameters, context, executemany):
            statements.append((statement, parameters))

        engine = store._engine.sync_engine
        event.listen(engine, "before_cursor_execute", see)
        await work.watches.count_signals(users[:3], since=NOW, before=after(1440))
        event.remove(engine, "before_cursor_execute", see)
        (counted,) = statements
        connection = await transaction._db_session.connection()
        plan = await connection.exec_driver_sql(
            f"{'EXPLAIN' if transaction.is_postgresql else 'EXPLAIN QUERY PLAN'} {counted[0]}", counted[1]
        )
        plan_text = " ".join(str(row) for row in plan)

    assert "ix_signals_user_id_candle_opened_at" in plan_text
    assert "Seq Scan" not in plan_text
    assert "SCAN" not in plan_text


async def test_users_wanting_a_kind_have_an_active_channel_for_it(database):
    """A channel that is off, or delivers other kinds, does not count."""
    store = database.open()
    await add_users(store, "asha", "ravi", "meena", "tara")
    summary = NotificationKind.DAILY_SUMMARY
    channels = [
        ("c1", "asha", True, summary),
        ("c2", "ravi", False, summary),
        ("c3", "meena", True, NotificationKind.SIGNAL),
    ]
    async with store.begin() as work:
        for channel_id, user_id, is_on, kind in channels:
            row = {
                "id": channel_id, "user_id": user_id, "kind": ChannelKind.WEBHOOK, "label": "mail", "address": "sealed", "hint": "a…",
                "is_on": is_on, "created_at": NOW, "failures": 0,
            }  # fmt: skip
            await work.notifications._transaction.execute(insert(ChannelRow).values(row))
            carried = insert(ChannelKindRow).values(channel_id=channel_id, kind=kind)
            await work.notifications._transaction.execute(carried)
        await work.commit()

    async with store.begin(read_only=True) as work:
        assert await work.notifications.users_wanting(summary) == {"asha"}
