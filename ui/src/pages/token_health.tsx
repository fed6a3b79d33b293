// Token health, for admins: the Fyers session of each account, its state and evidence, and actions on it.
import { useComputed, useSignal } from "@preact/signals";
import { type Account, call } from "../api/client";
import { now } from "../live/clock";
import { sweep, user } from "../live/store";
import { Action, Dialog, Empty, Loading, Problem } from "../parts/elements";
import { Expiries } from "../parts/expiries";
import { age, codeText, count, until, whenIst } from "../parts/format";
import { usePolled } from "../parts/polling";
import { ResetDialog } from "../parts/reset_dialog";

const STEP = 200;
const STATES = ["connected", "expiring", "disconnected", "never_connected"] as const;
const COLUMNS: [string, string, (one: Account) => string | number][] = [
  ["name", "Account", (one) => one.fullName.toLowerCase()], ["state", "State", (one) => STATES.indexOf(one.state)],
  ["reason", "Reason and evidence", (one) => one.reason ?? one.verificationState], ["checked", "Last check", (one) => Date.parse(one.lastValidatedAt ?? "") || 0],
  ["expiry", "Expires", (one) => Date.parse(one.expiresAt ?? "") || 0], ["calls", "Calls today", (one) => one.calls], ["refusals", "Refused", (one) => one.refusals],
];

export function TokenHealthPage() {
  const { data, problem, reload } = usePolled(() => call("get", "/api/admin/token-health"));
  const filter = useSignal("");
  const text = useSignal("");
  const sort = useSignal({ column: "state", isDown: false });
  const shown = useSignal(STEP);
  const chosenAction = useSignal<{ action: "disconnect" | "role" | "password"; account: Account } | null>(null);
  const found = useComputed(() => {
    const by = COLUMNS.find(([name]) => name === sort.value.column)?.[2] ?? (() => 0);
    const query = text.value.trim().toLowerCase();
    const order = sort.value.isDown ? -1 : 1;
    return (data.value?.accounts ?? [])
      .filter((one) => (!filter.value || one.state === filter.value || (filter.value === "unconfirmed" && isUnconfirmed(one)))
        && (!query || `${one.fullName} ${one.email} ${one.fyersId ?? ""}`.toLowerCase().includes(query)))
      .sort((a, b) => { const [x, y] = [by(a), by(b)]; return x < y ? -order : x > y ? order : 0; });
  });
  if (!data.value) return problem.value ? <Problem text={problem.value} onRetry={reload} /> : <Loading rows={8} label="Loading token health" />;
  const all = data.value.accounts;
  const countOf = (name: string) => all.filter((one) => (name === "unconfirmed" ? isUnconfirmed(one) : one.state === name)).length;
  return (
    <div class="page">
      <div class="page-head"><h1>Token health</h1><CheckAll onDone={reload} /></div>
      {data.value.brokerOutage && <p class="banner warn" role="status">Fyers has refused many sessions at once since {whenIst(data.value.brokerOutage.beganAt, now.value)}. They are kept until Fyers recovers.</p>}
      <div class="tiles" role="group" aria-label="Accounts by state">
        {[...STATES, "unconfirmed"].map((name) => (
          <button key={name} type="button" class="tile" data-state={name} aria-pressed={filter.value === name} onClick={() => { filter.value = filter.value === name ? "" : name; }}>
            <b class="num">{count(countOf(name))}</b>{codeText(name)}</button>
        ))}
      </div>
      <section class="panel" aria-labelledby="expiries"><h2 id="expiries">When sessions expire</h2><Expiries accounts={all} at={now.value} /></section>
      <section class="panel" aria-labelledby="accounts">
        <header class="panel-head"><h2 id="accounts">Accounts <span class="detail num">{count(found.value.length)} of {count(all.length)}</span></h2>
          <input type="search" aria-label="Filter by name, e-mail or Fyers id" placeholder="Filter" value={text.value} onInput={(event) => { text.value = event.currentTarget.value; }} /></header>
        {found.value.length === 0 ? <Empty title="No account matches the filter" /> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Accounts table"><table>
            <thead><tr>{COLUMNS.map(([name, label]) => (
              <th key={name} scope="col" class={name === "calls" || name === "refusals" ? "align-right" : undefined} aria-sort={sort.value.column === name ? (sort.value.isDown ? "descending" : "ascending") : undefined}>
                <button type="button" class="sort" onClick={() => { sort.value = { column: name, isDown: sort.value.column === name && !sort.value.isDown }; }}>{label}</button></th>
            ))}<th scope="col"><span class="visually-hidden">Actions</span></th></tr></thead>
            <tbody>{found.value.slice(0, shown.value).map((one) => <Row key={one.userId} one={one} onAct={(action) => { chosenAction.value = { action, account: one }; }} onDone={reload} />)}</tbody>
          </table>
          {found.value.length > shown.value && <button type="button" class="more" onClick={() => { shown.value += STEP; }}>Show more</button>}
          </div>
        )}
      </section>
      {chosenAction.value && <ActionDialog {...chosenAction.value} onClose={() => { chosenAction.value = null; reload(); }} />}
    </div>
  );
}

const isUnconfirmed = (one: Account) => ["unverified", "under_verification", "held"].includes(one.verificationState) && ["connected", "expiring"].includes(one.state);

function Row({ one, onAct, onDone }: { one: Account; onAct: (action: "disconnect" | "role" | "password") => void; onDone: () => void }) {
  const isConnected = one.state === "connected" || one.state === "expiring";
  const evidence = one.evidence;
  return (
    <tr data-account={one.email}>
      <th scope="row">{one.fullName}{one.role === "admin" && <span class="tag">admin</span>}<span class="detail">{one.email}{one.fyersId ? ` · ${one.fyersId}` : ""}</span></th>
      <td><span class="state" data-state={one.state}><i class="dot" aria-hidden="true" />{codeText(one.state)}</span><span class="detail">{codeText(one.monitoringStatus)} · {one.watchCount} {one.watchCount === 1 ? "symbol" : "symbols"}</span></td>
      <td>{one.reason ? codeText(one.reason) : isConnected ? codeText(one.holdReason ?? one.verificationState) : "–"}
        {evidence && <details class="evidence"><summary>{codeText(evidence.kind)}, {age(evidence.at, now.value)} ago</summary>
          <dl>{[["by", evidence.actor], ["incident", evidence.incidentId], ...Object.entries(evidence.evidence)].filter(([, value]) => value !== null && value !== undefined && value !== "")
            .map(([name, value]) => <div key={String(name)}><dt>{String(name)}</dt><dd>{typeof value === "string" ? value : JSON.stringify(value)}</dd></div>)}</dl></details>}</td>
      <td class="num">{one.lastValidatedAt ? `${age(one.lastValidatedAt, now.value)} ago` : "–"}</td>
      <td class="num">{isConnected ? <>{whenIst(one.expiresAt, now.value)}<span class="detail">{until(one.expiresAt, now.value)}</span></> : whenIst(one.lastDisconnectTime, now.value)}</td>
      <td class="align-right">{count(one.calls)}</td>
      <td class="align-right">{count(one.refusals)}</td>
      <td class="actions">
        {isConnected && <Action class="small" label={`Check ${one.fullName} now`} run={async () => { await call("post", "/api/token-validation/validate/{user_id}", { path: { user_id: one.userId } }); onDone(); }}>Check</Action>}
        {isConnected && <button type="button" class="small" aria-label={`Disconnect ${one.fullName}`} onClick={() => onAct("disconnect")}>Disconnect</button>}
        {one.fyersId && one.state !== "connected" && <LinkButton one={one} />}
        <button type="button" class="small" aria-label={`Change role: ${one.fullName}`} onClick={() => onAct("role")}>Change role</button>
        {one.userId !== user.value?.id && <button type="button" class="small" aria-label={`Reset password: ${one.fullName}`} onClick={() => onAct("password")}>Reset password</button>}
      </td>
    </tr>
  );
}

/** Sends a notice with a login link; only its user sees the link. */
function LinkButton({ one }: { one: Account }) {
  const result = useSignal("");
  return result.value ? <span class="detail" role="status">{result.value}</span> : (
    <Action class="small" label={`Ask to log in: ${one.fullName}`} run={async () => {
      result.value = (await call("post", "/api/admin/users/{user_id}/login-link", { path: { user_id: one.userId } })).message;
    }}>Ask to log in</Action>
  );
}

function CheckAll({ onDone }: { onDone: () => void }) {
  const result = useSignal("");
  const isBusy = useSignal(false);
  const run = async () => {
    isBusy.value = true;
    result.value = "";
    sweep.value = null;
    try {
      const { results } = await call("post", "/api/token-validation/validate-all");
      result.value = `${count(results.total)} checked in ${(results.durationMs / 1000).toFixed(1)} s: ${results.valid} valid, ${results.invalid} invalid, ${results.unverified} unconfirmed`;
    } finally {
      isBusy.value = false;
      onDone();
    }
  };
  return (
    <div class="check-all">
      {isBusy.value && sweep.value && <><progress aria-label="Accounts checked" max={sweep.value.total} value={sweep.value.done} /><span class="num">{sweep.value.done} of {sweep.value.total}</span></>}
      {result.value && <span class="num" role="status">{result.value}</span>}
      <Action class="primary" run={run}>{isBusy.value ? "Checking …" : "Check all now"}</Action>
    </div>
  );
}

function ActionDialog({ action, account, onClose }: { action: "disconnect" | "role" | "password"; account: Account; onClose: () => void }) {
  const path = { user_id: account.userId };
  const role = account.role === "admin" ? "trader" as const : "admin" as const;
  const isSelf = account.userId === user.value?.id;
  if (action === "password") return <ResetDialog account={account} onClose={onClose} />;
  return action === "disconnect" ? (
    <Dialog title={`Disconnect ${account.fullName}?`} onClose={onClose}>
      <p>hullwatch stops using this Fyers session at once and notifies {account.fullName}. Monitoring continues after the next login.</p>
      <div class="buttons"><Action class="primary danger" run={async () => { await call("post", "/api/admin/users/{user_id}/disconnect", { path }); onClose(); }}>Disconnect</Action><button type="button" onClick={onClose}>Cancel</button></div>
    </Dialog>
  ) : (
    <Dialog title={`Make ${account.fullName} ${role === "admin" ? "an admin" : "a trader"}?`} onClose={onClose}>
      <p>{role === "admin" ? "An admin sees the token health of all accounts and can disconnect them." : "A trader sees only their own account."}{isSelf && " This is your own account: you lose access to the admin pages."}</p>
      <div class="buttons"><Action class="primary" run={async () => {
        await call("put", "/api/admin/users/{user_id}/role", { path, body: { role } });
        if (isSelf) user.value = await call("get", "/api/auth/me");
        onClose();
      }}>Change role</Action><button type="button" onClick={onClose}>Cancel</button></div>
    </Dialog>
  );
}
