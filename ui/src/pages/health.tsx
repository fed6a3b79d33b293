// Token health, for operators: everybody's session, why it stands as it does, and what can be done about it.
import { useComputed, useSignal } from "@preact/signals";
import { type Account, call } from "../api/client";
import { now } from "../live/clock";
import { sweep, user } from "../live/store";
import { Action, Dialog, Empty, Loading, Problem } from "../parts/bits";
import { Expiries } from "../parts/expiries";
import { age, count, until, whenIst, words } from "../parts/format";
import { usePolled } from "../parts/polled";

const STEP = 200;
const STATES = ["connected", "expiring", "disconnected", "never_connected"] as const;
const COLUMNS: [string, string, (one: Account) => string | number][] = [
  ["name", "Account", (one) => one.fullName.toLowerCase()], ["state", "State", (one) => STATES.indexOf(one.state)],
  ["reason", "Reason and evidence", (one) => one.reason ?? one.verificationState], ["checked", "Last check", (one) => Date.parse(one.lastValidatedAt ?? "") || 0],
  ["end", "End", (one) => Date.parse(one.expiresAt ?? "") || 0], ["calls", "Calls today", (one) => one.calls], ["refusals", "Refused", (one) => one.refusals],
];

export function HealthPage() {
  const { data, problem, again } = usePolled(() => call("get", "/api/admin/token-health"));
  const filter = useSignal("");
  const text = useSignal("");
  const sort = useSignal({ column: "state", isDown: false });
  const shown = useSignal(STEP);
  const acting = useSignal<{ what: "disconnect" | "role"; account: Account } | null>(null);
  const found = useComputed(() => {
    const by = COLUMNS.find(([name]) => name === sort.value.column)?.[2] ?? (() => 0);
    const needle = text.value.trim().toLowerCase();
    const turn = sort.value.isDown ? -1 : 1;
    return (data.value?.accounts ?? [])
      .filter((one) => (!filter.value || one.state === filter.value || (filter.value === "doubtful" && isDoubtful(one)))
        && (!needle || `${one.fullName} ${one.email} ${one.fyersId ?? ""}`.toLowerCase().includes(needle)))
      .sort((a, b) => { const [x, y] = [by(a), by(b)]; return x < y ? -turn : x > y ? turn : 0; });
  });
  if (!data.value) return problem.value ? <Problem text={problem.value} onAgain={again} /> : <Loading rows={8} label="Loading token health" />;
  const all = data.value.accounts;
  const sum = (name: string) => all.filter((one) => (name === "doubtful" ? isDoubtful(one) : one.state === name)).length;
  return (
    <div class="page">
      <div class="page-head"><h1>Token health</h1><CheckAll onDone={again} /></div>
      {data.value.brokerOutage && <p class="banner warn" role="status">Fyers refuses many sessions at once since {whenIst(data.value.brokerOutage.beganAt, now.value)}; verdicts are held back.</p>}
      <div class="tiles" role="group" aria-label="Accounts by state">
        {[...STATES, "doubtful"].map((name) => (
          <button key={name} type="button" class="tile" data-state={name} aria-pressed={filter.value === name} onClick={() => { filter.value = filter.value === name ? "" : name; }}>
            <b class="num">{count(sum(name))}</b>{words(name)}</button>
        ))}
      </div>
      <section class="panel" aria-labelledby="ends"><h2 id="ends">When sessions end</h2><Expiries accounts={all} at={now.value} /></section>
      <section class="panel" aria-labelledby="accounts">
        <header class="panel-head"><h2 id="accounts">Accounts <span class="sub num">{count(found.value.length)} of {count(all.length)}</span></h2>
          <input type="search" aria-label="Filter by name, e-mail or Fyers id" placeholder="Filter" value={text.value} onInput={(event) => { text.value = event.currentTarget.value; }} /></header>
        {found.value.length === 0 ? <Empty title="No account fits" /> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Accounts table"><table>
            <thead><tr>{COLUMNS.map(([name, label]) => (
              <th key={name} scope="col" class={name === "calls" || name === "refusals" ? "n" : undefined} aria-sort={sort.value.column === name ? (sort.value.isDown ? "descending" : "ascending") : undefined}>
                <button type="button" class="sort" onClick={() => { sort.value = { column: name, isDown: sort.value.column === name && !sort.value.isDown }; }}>{label}</button></th>
            ))}<th scope="col"><span class="away">Actions</span></th></tr></thead>
            <tbody>{found.value.slice(0, shown.value).map((one) => <Row key={one.userId} one={one} onAct={(what) => { acting.value = { what, account: one }; }} onDone={again} />)}</tbody>
          </table>
          {found.value.length > shown.value && <button type="button" class="more" onClick={() => { shown.value += STEP; }}>Show more</button>}
          </div>
        )}
      </section>
      {acting.value && <ActDialog {...acting.value} onClose={() => { acting.value = null; again(); }} />}
    </div>
  );
}

const isDoubtful = (one: Account) => ["unverified", "under_verification", "held"].includes(one.verificationState) && ["connected", "expiring"].includes(one.state);

function Row({ one, onAct, onDone }: { one: Account; onAct: (what: "disconnect" | "role") => void; onDone: () => void }) {
  const isAlive = one.state === "connected" || one.state === "expiring";
  const evidence = one.evidence;
  return (
    <tr data-account={one.email}>
      <th scope="row">{one.fullName}{one.role === "admin" && <span class="tag">admin</span>}<span class="sub">{one.email}{one.fyersId ? ` · ${one.fyersId}` : ""}</span></th>
      <td><span class="state" data-state={one.state}><i class="dot" aria-hidden="true" />{words(one.state)}</span><span class="sub">{words(one.monitoringStatus)} · {one.watchCount} {one.watchCount === 1 ? "line" : "lines"}</span></td>
      <td>{one.reason ? words(one.reason) : isAlive ? words(one.verificationState) : "–"}
        {evidence && <details class="evidence"><summary>{words(evidence.kind)}, {age(evidence.at, now.value)} ago</summary>
          <dl>{[["by", evidence.actor], ["incident", evidence.incidentId], ...Object.entries(evidence.evidence)].filter(([, value]) => value !== null && value !== undefined && value !== "")
            .map(([name, value]) => <div key={String(name)}><dt>{String(name)}</dt><dd>{typeof value === "string" ? value : JSON.stringify(value)}</dd></div>)}</dl></details>}</td>
      <td class="num">{one.lastValidatedAt ? `${age(one.lastValidatedAt, now.value)} ago` : "–"}</td>
      <td class="num">{isAlive ? <>{whenIst(one.expiresAt, now.value)}<span class="sub">{until(one.expiresAt, now.value)}</span></> : whenIst(one.lastDisconnectTime, now.value)}</td>
      <td class="n">{count(one.calls)}</td>
      <td class="n">{count(one.refusals)}</td>
      <td class="acts">
        {isAlive && <Action class="small" label={`Check ${one.fullName} now`} run={async () => { await call("post", "/api/token-validation/validate/{user_id}", { path: { user_id: one.userId } }); onDone(); }}>Check</Action>}
        {isAlive && <button type="button" class="small" aria-label={`Disconnect ${one.fullName}`} onClick={() => onAct("disconnect")}>Disconnect</button>}
        {one.fyersId && one.state !== "connected" && <LinkButton one={one} />}
        <button type="button" class="small" aria-label={`Change the role of ${one.fullName}`} onClick={() => onAct("role")}>Role</button>
      </td>
    </tr>
  );
}

/** Sends a notice with a login link; only its user sees the link. */
function LinkButton({ one }: { one: Account }) {
  const said = useSignal("");
  return said.value ? <span class="sub" role="status">{said.value}</span> : (
    <Action class="small" label={`Ask to log in: ${one.fullName}`} run={async () => {
      said.value = (await call("post", "/api/admin/users/{user_id}/login-link", { path: { user_id: one.userId } })).message;
    }}>Ask to log in</Action>
  );
}

function CheckAll({ onDone }: { onDone: () => void }) {
  const said = useSignal("");
  const isBusy = useSignal(false);
  const run = async () => {
    isBusy.value = true;
    said.value = "";
    sweep.value = null;
    try {
      const { results } = await call("post", "/api/token-validation/validate-all");
      said.value = `${count(results.total)} checked in ${(results.durationMs / 1000).toFixed(1)} s: ${results.valid} valid, ${results.invalid} invalid, ${results.unverified} unconfirmed.`;
    } finally {
      isBusy.value = false;
      onDone();
    }
  };
  return (
    <div class="check-all">
      {isBusy.value && sweep.value && <><progress aria-label="Accounts checked" max={sweep.value.total} value={sweep.value.done} /><span class="num">{sweep.value.done} of {sweep.value.total}</span></>}
      {said.value && <span class="num" role="status">{said.value}</span>}
      <Action class="primary" run={run}>{isBusy.value ? "Checking …" : "Check all now"}</Action>
    </div>
  );
}

function ActDialog({ what, account, onClose }: { what: "disconnect" | "role"; account: Account; onClose: () => void }) {
  const path = { user_id: account.userId };
  const role = account.role === "admin" ? "trader" as const : "admin" as const;
  const isSelf = account.userId === user.value?.id;
  return what === "disconnect" ? (
    <Dialog title={`Disconnect ${account.fullName}?`} onClose={onClose}>
      <p>The Fyers session ends here at once and no further call is made for it. {account.fullName} is told, and can log in again. Monitoring goes on after that.</p>
      <div class="buttons"><Action class="primary danger" run={async () => { await call("post", "/api/admin/users/{user_id}/disconnect", { path }); onClose(); }}>Disconnect</Action><button type="button" onClick={onClose}>Leave it</button></div>
    </Dialog>
  ) : (
    <Dialog title={`Make ${account.fullName} ${role === "admin" ? "an admin" : "a trader"}?`} onClose={onClose}>
      <p>{role === "admin" ? "An admin sees everybody’s token health and may disconnect accounts." : "A trader sees only the own account."}{isSelf && " This is you: the operator’s pages go away."}</p>
      <div class="buttons"><Action class="primary" run={async () => {
        await call("put", "/api/admin/users/{user_id}/role", { path, body: { role } });
        if (isSelf) user.value = await call("get", "/api/auth/me");
        onClose();
      }}>Change role</Action><button type="button" onClick={onClose}>Leave it</button></div>
    </Dialog>
  );
}
