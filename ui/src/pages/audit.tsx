// The audit trail, for operators: what changed for whom, caused by what.
import { useSignal } from "@preact/signals";
import { type AuditLine, call } from "../api/client";
import { now } from "../live/clock";
import { Empty, Loading, Problem } from "../parts/bits";
import { whenIst, words } from "../parts/format";
import { usePolled } from "../parts/polled";

const KINDS = [["", "Everything"], ["connection.", "Connections"], ["monitoring.", "Monitoring"], ["user.", "Users"], ["broker.", "Broker"], ["channel.", "Channels"], ["notice.", "Notices"], ["server.", "Server"]] as const;

export function AuditPage() {
  const kind = useSignal("connection.");
  const who = useSignal("");
  const older = useSignal<AuditLine[]>([]);
  const people = usePolled(() => call("get", "/api/admin/token-health"));
  const query = { kind: kind.value, userId: who.value, limit: 100 };
  const { data, problem, again } = usePolled(() => call("get", "/api/admin/events", { query }), `${kind.value} ${who.value}`);
  const names = new Map((people.data.value?.accounts ?? []).map((one) => [one.userId, one.fullName]));
  const lines = [...(data.value?.events ?? []), ...older.value];
  const choose = (set: () => void) => { set(); older.value = []; data.value = null; };
  const more = async () => {
    const before = lines.at(-1)?.at;
    if (before) older.value = [...older.value, ...(await call("get", "/api/admin/events", { query: { ...query, before } })).events];
  };
  return (
    <div class="page">
      <div class="page-head"><h1>Audit trail</h1>
        <div class="filters">
          <select aria-label="Kind" value={kind.value} onChange={(event) => choose(() => { kind.value = event.currentTarget.value; })}>{KINDS.map(([value, label]) => <option key={value} value={value}>{label}</option>)}</select>
          <select aria-label="Account" value={who.value} onChange={(event) => choose(() => { who.value = event.currentTarget.value; })}>
            <option value="">All accounts</option>{[...names].map(([id, name]) => <option key={id} value={id}>{name}</option>)}</select>
        </div>
      </div>
      <section class="panel" aria-label="Audit trail">
        {!data.value ? (problem.value ? <Problem text={problem.value} onAgain={again} /> : <Loading rows={8} label="Loading the audit trail" />)
          : lines.length === 0 ? <Empty title="No such line" /> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Audit table"><table>
            <thead><tr><th scope="col">When</th><th scope="col">Account</th><th scope="col">What</th><th scope="col">From → to</th><th scope="col">By</th><th scope="col">Evidence</th></tr></thead>
            <tbody>{lines.map((one, place) => (
              <tr key={`${one.at} ${one.kind} ${one.userId ?? ""} ${place}`}>
                <td class="num">{whenIst(one.at, now.value, true)}</td>
                <th scope="row">{one.userId ? names.get(one.userId) ?? one.userId : "server"}</th>
                <td>{words(one.kind)}{one.reason && <span class="sub">{words(one.reason)}</span>}</td>
                <td>{one.fromState ? `${words(one.fromState)} → ${words(one.toState ?? "")}` : words(one.toState ?? "–")}</td>
                <td>{names.get(one.actor) ?? one.actor}</td>
                <td>{Object.keys(one.evidence).length > 0 ? <details class="evidence"><summary>show</summary><pre>{JSON.stringify(one.evidence, null, 1)}</pre></details> : "–"}{one.incidentId && <span class="sub">{one.incidentId}</span>}</td>
              </tr>
            ))}</tbody>
          </table>
          {lines.length % 100 === 0 && <button type="button" class="more" onClick={() => void more()}>Show older</button>}
          </div>
        )}
      </section>
    </div>
  );
}
