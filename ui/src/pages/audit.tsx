// The audit trail, for admins: each change with its account, cause and evidence.
import { useSignal } from "@preact/signals";
import { type AuditEvent, call } from "../api/client";
import { now } from "../live/clock";
import { Empty, Loading, Problem } from "../parts/elements";
import { codeText, whenIst } from "../parts/format";
import { usePolled } from "../parts/polling";

const EVENT_KINDS = [["", "All events"], ["connection.", "Connections"], ["monitoring.", "Monitoring"], ["user.", "Users"], ["broker.", "Broker"], ["channel.", "Channels"], ["notice.", "Notices"], ["server.", "Server"]] as const;

export function AuditPage() {
  const kind = useSignal("connection.");
  const userId = useSignal("");
  const older = useSignal<AuditEvent[]>([]);
  const accounts = usePolled(() => call("get", "/api/admin/token-health"));
  const query = { kind: kind.value, userId: userId.value, limit: 100 };
  const { data, problem, reload } = usePolled(() => call("get", "/api/admin/events", { query }), `${kind.value} ${userId.value}`);
  const names = new Map((accounts.data.value?.accounts ?? []).map((one) => [one.userId, one.fullName]));
  const events = [...(data.value?.events ?? []), ...older.value];
  const filterBy = (set: () => void) => { set(); older.value = []; data.value = null; };
  const loadOlder = async () => {
    const before = events.at(-1)?.at;
    if (before) older.value = [...older.value, ...(await call("get", "/api/admin/events", { query: { ...query, before } })).events];
  };
  return (
    <div class="page">
      <div class="page-head"><h1>Audit trail</h1>
        <div class="filters">
          <select aria-label="Kind" value={kind.value} onChange={(event) => filterBy(() => { kind.value = event.currentTarget.value; })}>{EVENT_KINDS.map(([value, label]) => <option key={value} value={value}>{label}</option>)}</select>
          <select aria-label="Account" value={userId.value} onChange={(event) => filterBy(() => { userId.value = event.currentTarget.value; })}>
            <option value="">All accounts</option>{[...names].map(([id, name]) => <option key={id} value={id}>{name}</option>)}</select>
        </div>
      </div>
      <section class="panel" aria-label="Audit trail">
        {!data.value ? (problem.value ? <Problem text={problem.value} onRetry={reload} /> : <Loading rows={8} label="Loading the audit trail" />)
          : events.length === 0 ? <Empty title="No events match the filters" /> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Audit table"><table>
            <thead><tr><th scope="col">When</th><th scope="col">Account</th><th scope="col">Event</th><th scope="col">Change</th><th scope="col">By</th><th scope="col">Evidence</th></tr></thead>
            <tbody>{events.map((one, position) => (
              <tr key={`${one.at} ${one.kind} ${one.userId ?? ""} ${position}`}>
                <td class="num">{whenIst(one.at, now.value, true)}</td>
                <th scope="row">{one.userId ? names.get(one.userId) ?? one.userId : "server"}</th>
                <td>{codeText(one.kind)}{one.reason && <span class="detail">{codeText(one.reason)}</span>}</td>
                <td>{one.fromState ? `${codeText(one.fromState)} → ${codeText(one.toState ?? "")}` : codeText(one.toState ?? "–")}</td>
                <td>{names.get(one.actor) ?? one.actor}</td>
                <td>{Object.keys(one.evidence).length > 0 ? <details class="evidence"><summary>Show</summary><pre>{JSON.stringify(one.evidence, null, 1)}</pre></details> : "–"}{one.incidentId && <span class="detail">{one.incidentId}</span>}</td>
              </tr>
            ))}</tbody>
          </table>
          {events.length % 100 === 0 && <button type="button" class="more" onClick={() => void loadOlder()}>Show older</button>}
          </div>
        )}
      </section>
    </div>
  );
}
