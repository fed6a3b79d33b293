// Readiness, for operators: who will be watched when the market opens, and once it has, who is.
import { useSignal } from "@preact/signals";
import { type AccountReadiness, call } from "../api/client";
import { now } from "../live/clock";
import { Action, Empty, Loading, Problem } from "../parts/bits";
import { age, count, until, whenIst, words } from "../parts/format";
import { usePolled } from "../parts/polled";
import { tone } from "../parts/readiness";

const STEP = 200;
const DOTS = { good: "connected", but: "expiring", bad: "disconnected", none: "never_connected" } as const;
const isMissing = (one: AccountReadiness) => one.verdict === "not_ready" || one.verdict === "not_watching";

export function ReadinessPage() {
  const { data, problem, again } = usePolled(() => call("get", "/api/admin/readiness"));
  const isFiltered = useSignal(false);
  const shown = useSignal(STEP);
  if (!data.value) return problem.value ? <Problem text={problem.value} onAgain={again} /> : <Loading rows={8} label="Loading readiness" />;
  const known = data.value;
  const isWatching = known.phase === "watching";
  const found = known.accounts.filter((one) => !isFiltered.value || isMissing(one));
  return (
    <div class="page">
      <div class="page-head"><h1>Readiness</h1>
        <div class="check-all">{known.isChecking && <span role="status">A check is under way …</span>}
          <Action class="primary" run={async () => { await call("post", "/api/admin/readiness/check"); again(); }}>Check now</Action></div></div>
      <section class="panel" aria-label="Share">
        <p class="share num" data-percent={known.percent ?? ""}>
          {known.percent === null ? <span>{known.phase === "closed" ? "The market is closed." : "Nobody is to be watched."}</span>
            : <><b>{known.percent} %</b><span>{isWatching ? "watching" : "ready"}: {count(known.ready)} of {count(known.total)} accounts</span>
              <progress aria-label={isWatching ? "Accounts watched" : "Accounts ready"} max={known.total} value={known.ready} /></>}
        </p>
        <p class="hint num">{isWatching ? `Open since ${whenIst(known.opensAt, now.value)}.` : `Opens ${whenIst(known.opensAt, now.value)}, in ${until(known.opensAt, now.value) || "a moment"}.`}{" "}
          {known.checkedAt ? `Checked ${age(known.checkedAt, now.value)} ago; next` : "Next check"} {whenIst(known.nextCheckAt, now.value)}.</p>
      </section>
      <section class="panel" aria-labelledby="accounts">
        <header class="panel-head"><h2 id="accounts">Accounts <span class="sub num">{count(found.length)} of {count(known.accounts.length)}</span></h2>
          <label class="check"><input type="checkbox" checked={isFiltered.value} onChange={(event) => { isFiltered.value = event.currentTarget.checked; }} />{isWatching ? "Not watching only" : "Not ready only"}</label></header>
        {found.length === 0 ? <Empty title={isFiltered.value ? "Nobody is missing" : "Nobody has a watchlist yet"} /> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Accounts table"><table>
            <thead><tr><th scope="col">Account</th><th scope="col">Stands</th><th scope="col">Why, and what to do, as the user reads it</th><th scope="col" class="n">Lines warm</th><th scope="col">Checked</th></tr></thead>
            <tbody>{found.slice(0, shown.value).map((one) => <Row key={one.userId} one={one} />)}</tbody>
          </table>
          {found.length > shown.value && <button type="button" class="more" onClick={() => { shown.value += STEP; }}>Show more</button>}
          </div>
        )}
      </section>
    </div>
  );
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

function Row({ one }: { one: AccountReadiness }) {
  return (
    <tr data-account={one.email}>
      <th scope="row">{one.fullName}<span class="sub">{one.email}</span></th>
      <td><span class="state" data-state={DOTS[tone(one)]}><i class="dot" aria-hidden="true" />{words(one.verdict)}</span></td>
      <td class="why">{one.because ? <>{capital(one.because)}<span class="sub">{one.doThis}</span></> : "–"}</td>
      <td class="n">{one.lines.warm} of {one.lines.total}</td>
      <td class="num">{one.checkedAt ? `${age(one.checkedAt, now.value)} ago` : "–"}</td>
    </tr>
  );
}
