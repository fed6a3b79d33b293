// Undelivered notices of all users, for admins, with actions to retry or discard them.
import { call } from "../api/client";
import { now } from "../live/clock";
import { CHANNEL_KINDS } from "./channel_names";
import { Action, Empty, Loading, Problem } from "./elements";
import { whenIst } from "./format";
import { usePolled } from "./polling";

const load = async () => (await call("get", "/api/admin/deliveries")).deliveries;

export function DeadLetterList() {
  const { data, problem, reload } = usePolled(load);
  return (
    <section class="panel" aria-labelledby="dead-letters"><h2 id="dead-letters">Undelivered notices of all users</h2>
      {!data.value ? (problem.value ? <Problem text={problem.value} onRetry={reload} /> : <Loading rows={2} label="Loading undelivered notices" />)
        : data.value.length === 0 ? <Empty title="No undelivered notices" /> : (
        <div class="scroll tall" tabIndex={0} role="region" aria-label="Undelivered notices"><table>
          <thead><tr><th scope="col">When</th><th scope="col">Notice</th><th scope="col">User</th><th scope="col">Channel</th><th scope="col">Reason</th><th scope="col" class="align-right">Attempts</th><th scope="col"><span class="visually-hidden">Actions</span></th></tr></thead>
          <tbody>{data.value.map(({ delivery, email, channelKind, channelHint }) => {
            const path = { delivery_id: delivery.id };
            return (
              <tr key={delivery.id} data-dead-letter={delivery.id}>
                <td class="num">{whenIst(delivery.endedAt, now.value)}</td>
                <th scope="row">{delivery.title}</th>
                <td>{email}</td>
                <td>{delivery.channelLabel}<span class="detail">{CHANNEL_KINDS[channelKind]} · {channelHint}</span></td>
                <td>{delivery.lastError ?? "–"}</td>
                <td class="align-right">{delivery.attempts}</td>
                <td class="actions">
                  <Action class="small" run={async () => { await call("post", "/api/admin/deliveries/{delivery_id}/retry", { path }); reload(); }}>Retry</Action>
                  <Action class="small" run={async () => { await call("delete", "/api/admin/deliveries/{delivery_id}", { path }); reload(); }}>Discard</Action>
                </td>
              </tr>
            );
          })}</tbody>
        </table></div>
      )}
    </section>
  );
}
