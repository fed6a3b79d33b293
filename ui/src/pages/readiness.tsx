// Readiness, for admins: which accounts will be monitored when the market opens, and which are monitored now.
import { useSignal } from "@preact/signals";
import { type AccountReadiness, call } from "../api/client";
import { now } from "../live/clock";
import { Action, Empty, Loading, Problem } from "../parts/elements";
import { age, codeText, count, until, whenIst } from "../parts/format";
import { usePolled } from "../parts/polling";
import { tone } from "../parts/readiness";

const STEP = 200;
const DOTS = { good: "connected", partial: "expiring", bad: "disconnected", none: "never_connected" } as const;
const isNotReady = (one: AccountReadiness) => one.result === "not_ready" || one.result === "not_watching";

export function ReadinessPage() {
  const { data, problem, reload } = usePolled(() => call("get", "/api/admin/readiness"));
  const isFiltered = useSignal(false);
  const shown = useSignal(STEP);
  if (!data.value) return problem.value ? <Problem text={problem.value} onRetry={reload} /> : <Loading rows={8} label="Loading readiness" />;
  const known = data.value;
  const isWatching = known.phase === "watching";
  const found = known.accounts.filter((one) => !isFiltered.value || isNotReady(one));
  return (
    <div class="page">
      <div class="page-head"><h1>Readiness</h1>
        <div class="check-all">{known.isChecking && <span role="status">Checking …</span>}
          <Action class="primary" run={async () => { await call("post", "/api/admin/readiness/check"); reload(); }}>Check now</Action></div></div>
      <section class="panel" aria-label="Share of ready accounts">
        <p class="share num" data-percent={known.percent ?? ""}>
          {known.percent === null ? <span>{known.phase === "closed" ? "The market is closed." : "No account has monitoring on."}</span>
            : <><b>{known.percent} %</b><span>{count(known.ready)} of {count(known.total)} {known.total === 1 ? "account" : "accounts"} {isWatching ? "watched" : "ready"}</span>
              <progress aria-label={isWatching ? "Accounts watched" : "Accounts ready"} max={known.total} value={known.ready} /></>}
        </p>
        <p class="hint num">{isWatching ? `The market opened at ${whenIst(known.opensAt, now.value)}.` : `The market opens at ${whenIst(known.opensAt, now.value)}, in ${until(known.opensAt, now.value) || "a moment"}.`}{" "}
          {known.checkedAt ? `Checked ${age(known.checkedAt, now.value)} ago.` : ""} Next check at {whenIst(known.nextCheckAt, now.value)}.</p>
      </section>
      <section class="panel" aria-labelledby="accounts">
        <header class="panel-head"><h2 id="accounts">Accounts <span class="detail num">{count(found.length)} of {count(known.accounts.length)}</span></h2>
          <label class="check"><input type="checkbox" checked={isFiltered.value} onChange={(event) => { isFiltered.value = event.currentTarget.checked; }} />{isWatching ? "Show only accounts not watched" : "Show only accounts not ready"}</label></header>
        {found.length === 0 ? <Empty title={isFiltered.value ? isWatching ? "All accounts are being watched" : "All accounts are ready" : "No account has a watchlist yet"} /> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Accounts table"><table>
            <thead><tr><th scope="col">Account</th><th scope="col">Status</th><th scope="col">Reason, and what the user should do</th><th scope="col" class="align-right">Ready symbols</th><th scope="col">Checked</th></tr></thead>
            <tbody>{found.slice(0, shown.value).map((one) => <Row key={one.userId} one={one} />)}</tbody>
          </table>
          {found.length > shown.value && <button type="button" class="more" onClick={() => { shown.value += STEP; }}>Show more</button>}
          </div>
        )}
      </section>
    </div>
  );
}

const capitalized = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

function Row({ one }: { one: AccountReadiness }) {
  return (
    <tr data-account={one.email}>
      <th scope="row">{one.fullName}<span class="detail">{one.email}</span></th>
      <td><span class="state" data-state={DOTS[tone(one)]}><i class="dot" aria-hidden="true" />{codeText(one.result)}</span></td>
      <td class="reason">{one.because ? <>{capitalized(one.because)}<span class="detail">{one.doThis}</span></> : "–"}
        {one.lines.monitored < one.lines.symbols && <span class="detail">{one.lines.monitored} of {one.lines.symbols} symbols can be monitored.</span>}</td>
      <td class="align-right">{one.lines.warm} of {one.lines.total}</td>
      <td class="num">{one.checkedAt ? `${age(one.checkedAt, now.value)} ago` : "–"}</td>
    </tr>
  );
}
