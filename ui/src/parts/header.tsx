// The header: pages, market status, connection status, notices, theme, sign out.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { type MarketStatus, call } from "../api/client";
import { now } from "../live/clock";
import { isDark, theme } from "../live/preferences";
import { market, monitoring, notices, signOut, unread, user } from "../live/store";
import { ConnectionPill, PushStatus } from "./connection_status";
import { Empty, Icon } from "./elements";
import { age, clockIst, until, when } from "./format";

const PAGES: [string, string, boolean][] = [
  ["watch", "Watch", false], ["coverage", "Coverage", false], ["fyers", "Fyers", false], ["notices", "Notices", false], ["account", "Account", false],
  ["readiness", "Readiness", true], ["health", "Token health", true], ["server", "Server", true], ["audit", "Audit trail", true],
];

export function Header({ page }: { page: string }) {
  const isAdmin = user.value?.role === "admin";
  const pages = useRef<HTMLElement | null>(null);
  // On a phone the page names scroll sideways, and the current one must be visible.
  useEffect(() => {
    const bar = pages.current, name = bar?.querySelector<HTMLElement>("[aria-current]");
    if (bar && name) bar.scrollLeft = name.offsetLeft - bar.offsetLeft - (bar.clientWidth - name.offsetWidth) / 2;
  }, [page, isAdmin]);
  return (
    <header class="header">
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to content</a>
      <a class="brand" href="#/watch"><img src="/icon.svg" alt="" width="24" height="24" />hullwatch</a>
      <nav aria-label="Pages" ref={pages}>
        {PAGES.filter(([, , forAdmins]) => isAdmin || !forAdmins).map(([name, label]) => (
          <a key={name} href={`#/${name}`} aria-current={page === name ? "page" : undefined}>{label}</a>
        ))}
      </nav>
      <div class="header-end">
        <Market />
        <Partial />
        <ConnectionPill />
        <PushStatus />
        <NoticesMenu />
        <button type="button" class="quiet square" aria-label={isDark.value ? "Use light colours" : "Use dark colours"}
          onClick={() => { theme.value = isDark.value ? "light" : "dark"; }}><Icon name="sun" /></button>
        <button type="button" class="quiet small" title={user.value?.email} onClick={() => void signOut()}>Sign out</button>
      </div>
    </header>
  );
}

/** How many symbols are monitored, if some are not. */
function Partial() {
  const state = monitoring.value;
  if (!state?.isPartial || state.status !== "watching") return null;
  return <a class="pill" href="#/watch" data-state="expiring" data-partial title={state.reason}>
    <i class="dot" aria-hidden="true" /><b>{state.monitoredCount} of {state.symbolCount}</b><span class="long">symbols monitored</span>
  </a>;
}

function Market() {
  const known = market.value;
  if (!known) return null;
  // Derivatives trade for some minutes after the cash market has closed.
  const trading = !known.isOpen && known.derivatives.isOpen ? known.derivatives : known;
  const changesAt = trading.isOpen ? trading.nextCloseAt : trading.nextOpenAt;
  const left = until(changesAt, now.value);
  const hints = [
    left && `${trading.isOpen ? "closes" : "opens"} in ${left}`,
    known.phase === "closing_auction" && "stocks with derivatives are in their closing auction",
    known.isOpen && known.derivatives.isOpen && known.derivatives.nextCloseAt !== known.nextCloseAt
      && `derivatives trade until ${when(known.derivatives.nextCloseAt, now.value)}`,
  ];
  return (
    <span class="market" data-open={trading.isOpen} data-phase={known.phase} title={hints.filter(Boolean).join("; ")}>
      <b>{marketName(known)}</b>
      <span class="num long">{trading.isOpen ? "closes" : "opens"} {when(changesAt, now.value)}</span>
      <span class="num clock">{clockIst(now.value)}</span>
    </span>
  );
}

function marketName(known: MarketStatus): string {
  if (known.isOpen) return known.phase === "closing_auction" ? "Closing auction" : "Market open";
  return known.derivatives.isOpen ? "Derivatives open" : known.holidayName ?? "Market closed";
}

function NoticesMenu() {
  const isOpen = useSignal(false);
  const box = useRef<HTMLDivElement | null>(null);
  useEffect(() => {
    const closeOutside = (event: Event) => {
      const isOutside = event instanceof KeyboardEvent ? event.key === "Escape" : !box.current?.contains(event.target as Node);
      if (isOutside) isOpen.value = false;
    };
    addEventListener("pointerdown", closeOutside);
    addEventListener("keydown", closeOutside);
    return () => { removeEventListener("pointerdown", closeOutside); removeEventListener("keydown", closeOutside); };
  }, [isOpen]);
  const number = unread.value;
  return (
    <div class="notices-menu" ref={box}>
      <button type="button" class="quiet square" aria-expanded={isOpen.value} aria-haspopup="true"
        aria-label={number ? `Notices, ${number} unread` : "Notices"} onClick={() => { isOpen.value = !isOpen.value; }}>
        <Icon name="notices" />{number > 0 && <span class="badge num">{number > 99 ? "99+" : number}</span>}
      </button>
      {isOpen.value && <Notices />}
    </div>
  );
}

async function markRead(ids: string[]): Promise<void> {
  const at = new Date(now.value).toISOString();
  notices.value = (notices.value ?? []).map((one) => (ids.includes(one.id) ? { ...one, readAt: at } : one));
  await Promise.allSettled(ids.map((id) => call("post", "/api/notifications/{notification_id}/read", { path: { notification_id: id } })));
}

function Notices() {
  const all = notices.value ?? [];
  const unreadIds = all.filter((one) => !one.readAt).map((one) => one.id);
  return (
    <section class="popover" aria-label="Notices">
      <header><h2>Notices</h2>
        <a href="#/notices">Notification settings</a>
        {unreadIds.length > 0 && <button type="button" class="small" onClick={() => void markRead(unreadIds)}>Mark all read</button>}
      </header>
      {all.length === 0 ? <Empty title="No notices yet">You will see here when your Fyers session changes.</Empty> : (
        <ul>{all.map((one) => (
          <li key={one.id} data-unread={!one.readAt}>
            <h3>{one.title}</h3>
            <p>{one.text}</p>
            <footer><time class="num" dateTime={one.createdAt}>{age(one.createdAt, now.value)} ago</time>
              {!one.readAt && <button type="button" class="link" onClick={() => void markRead([one.id])}>Mark read</button>}
            </footer>
          </li>
        ))}</ul>
      )}
    </section>
  );
}
